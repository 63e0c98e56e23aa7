//! A parser of `WWW-Authenticate` that is independent of the crate (RFC 9110 §11.6.1, with the list rule of §5.6.1).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub scheme: String,
    pub token68: Option<String>,
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find_map(|(one, value)| (one == name).then_some(value.as_str()))
    }
}

/// Parses the challenges of all field lines. An error describes the violation of the grammar.
pub fn parse(headers: &HeaderMap) -> Result<Vec<Challenge>, String> {
    let mut challenges = Vec::new();
    for line in headers.get_all(WWW_AUTHENTICATE) {
        let text = line
            .to_str()
            .map_err(|_| format!("{line:?} is not ASCII"))?;
        challenges.extend(parse_line(text)?);
    }
    Ok(challenges)
}

pub fn parse_line(line: &str) -> Result<Vec<Challenge>, String> {
    let mut reader = Reader { line, at: 0 };
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        reader.skip(" \t,");
        if reader.rest().is_empty() {
            return Ok(challenges);
        }
        let word = reader.token()?;
        let before = reader.at;
        reader.skip(" \t");
        if reader.rest().starts_with('=') && !reader.rest().starts_with("==") {
            // A parameter of the previous challenge.
            reader.at += 1;
            reader.skip(" \t");
            let value = reader.value()?;
            let challenge = challenges
                .last_mut()
                .ok_or("a parameter before any scheme")?;
            let name = word.to_ascii_lowercase();
            if challenge.parameter(&name).is_some() {
                return Err(format!("{name} is repeated"));
            }
            challenge.parameters.push((name, value));
        } else {
            let token68 = reader.token68(before);
            challenges.push(Challenge {
                scheme: word,
                token68,
                parameters: Vec::new(),
            });
            if reader.at > before && !reader.rest().is_empty() {
                // Its first parameter follows without a comma.
                continue;
            }
        }
        reader.skip(" \t");
        if !reader.rest().is_empty() && !reader.rest().starts_with(',') {
            return Err(format!("no comma before {:?}", reader.rest()));
        }
    }
}

struct Reader<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    fn skip(&mut self, characters: &str) {
        let rest = self.rest();
        self.at += rest.len()
            - rest
                .trim_start_matches(|one| characters.contains(one))
                .len();
    }

    fn token(&mut self) -> Result<String, String> {
        let is_tchar = |one: char| one.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(one);
        let rest = self.rest();
        let length = rest.find(|one| !is_tchar(one)).unwrap_or(rest.len());
        if length == 0 {
            return Err(format!("no token at {rest:?}"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    /// Parses a token68 that follows the scheme alone.
    fn token68(&mut self, scheme_end: usize) -> Option<String> {
        let rest = self.rest();
        let length = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
        let (candidate, after) = rest.split_at(length);
        let body = candidate.trim_end_matches('=');
        let is_token68 = !body.is_empty()
            && body
                .bytes()
                .all(|one| one.is_ascii_alphanumeric() || b"-._~+/".contains(&one));
        let stands_alone = after.trim_start().is_empty() || after.trim_start().starts_with(',');
        if self.at == scheme_end || !is_token68 || !stands_alone {
            return None;
        }
        self.at += length;
        Some(candidate.to_owned())
    }

    fn value(&mut self) -> Result<String, String> {
        if !self.rest().starts_with('"') {
            return self.token();
        }
        self.at += 1;
        let mut value = String::new();
        let mut characters = self.rest().char_indices();
        while let Some((at, one)) = characters.next() {
            match one {
                '"' => {
                    self.at += at + 1;
                    return Ok(value);
                }
                '\\' => value.push(characters.next().ok_or("an incomplete quoted pair")?.1),
                '\t' | ' '..='~' => value.push(one),
                _ => return Err(format!("{one:?} in a quoted string")),
            }
        }
        Err("a quoted string without end".to_owned())
    }
}
