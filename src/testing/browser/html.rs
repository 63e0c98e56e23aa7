//! A minimal HTML parser for tags, attributes and text. It does not implement the HTML standard.

/// A start tag with the text up to its end tag.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    /// The text content, as in [`Html::text`].
    pub(super) text: String,
    /// Index of the start tag.
    start: usize,
    /// Index of the end tag.
    end: usize,
}

#[derive(Debug)]
pub(super) struct Html {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Start {
        name: String,
        attributes: Vec<(String, String)>,
    },
    End(String),
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }
}

impl Html {
    pub(super) fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('<') {
            pieces.push(Piece::Text(unescape(&rest[..open])));
            rest = &rest[open..];
            if let Some(comment) = rest.strip_prefix("<!--") {
                rest = comment.split_once("-->").map_or("", |(_, after)| after);
                continue;
            }
            let (tag, after) = split_tag(&rest[1..]);
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                pieces.push(Piece::End(name.trim().to_ascii_lowercase()));
            } else if tag.starts_with(|first: char| first.is_ascii_alphabetic()) {
                let (name, attributes) = parse_tag(tag);
                // The content of these elements is neither text nor tags.
                if matches!(name.as_str(), "script" | "style") {
                    let end = format!("</{name}");
                    let at = rest.to_ascii_lowercase().find(&end).unwrap_or(rest.len());
                    rest = &rest[at..];
                }
                pieces.push(Piece::Start { name, attributes });
            }
        }
        pieces.push(Piece::Text(unescape(rest)));
        Self { pieces }
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Element> + 'a {
        self.elements(0, self.pieces.len())
            .filter(move |element| element.name == name)
    }

    pub(super) fn first(&self, name: &str) -> Option<Element> {
        self.all(name).next()
    }

    pub(super) fn inside(&self, element: &Element) -> impl Iterator<Item = Element> {
        self.elements(element.start + 1, element.end)
    }

    /// Returns all text except the title.
    pub(super) fn text(&self) -> String {
        let skip = self
            .first("title")
            .map_or(0..0, |title| title.start..title.end);
        self.text_of((0..self.pieces.len()).filter(|at| !skip.contains(at)))
    }

    fn elements(&self, from: usize, to: usize) -> impl Iterator<Item = Element> {
        (from..to).filter_map(|start| match &self.pieces[start] {
            Piece::Start { name, attributes } => {
                let ends = |piece: &Piece| matches!(piece, Piece::End(end) if end == name);
                let length = self.pieces[start..].iter().position(ends);
                let end = length.map_or(start, |length| start + length);
                Some(Element {
                    name: name.clone(),
                    attributes: attributes.clone(),
                    text: self.text_of(start..end),
                    end,
                    start,
                })
            }
            _ => None,
        })
    }

    fn text_of(&self, range: impl Iterator<Item = usize>) -> String {
        let text: Vec<&str> = range
            .filter_map(|at| match &self.pieces[at] {
                Piece::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        text.join(" ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Splits text after the end of a tag. `>` in quotes does not end the tag.
fn split_tag(text: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (None, '>') => return (&text[..at], &text[at + 1..]),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    (text, "")
}

fn parse_tag(tag: &str) -> (String, Vec<(String, String)>) {
    let tag = tag.trim_end_matches('/');
    let (name, mut rest) = tag
        .split_once(|c: char| c.is_ascii_whitespace())
        .unwrap_or((tag, ""));
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        let end = rest
            .find(|c: char| c == '=' || c.is_ascii_whitespace())
            .unwrap_or(rest.len());
        let (attribute, after) = rest.split_at(end);
        if attribute.is_empty() {
            return (name.to_ascii_lowercase(), attributes);
        }
        let (value, after) = match after.trim_start().strip_prefix('=') {
            Some(value) => parse_value(value.trim_start()),
            None => ("", after),
        };
        attributes.push((attribute.to_ascii_lowercase(), unescape(value)));
        rest = after;
    }
}

fn parse_value(text: &str) -> (&str, &str) {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..]
            .split_once(quote)
            .unwrap_or_else(|| (&text[1..], "")),
        _ => text.split_at(
            text.find(|c: char| c.is_ascii_whitespace())
                .unwrap_or(text.len()),
        ),
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest[1..].split_once(';').and_then(|(name, after)| {
            let character = match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                "nbsp" => ' ',
                _ => match name.strip_prefix("#x").or_else(|| name.strip_prefix("#X")) {
                    Some(hex) => char::from_u32(u32::from_str_radix(hex, 16).ok()?)?,
                    None => char::from_u32(name.strip_prefix('#')?.parse().ok()?)?,
                },
            };
            Some((character, after))
        });
        match reference {
            Some((character, after)) => {
                out.push(character);
                rest = after;
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}
