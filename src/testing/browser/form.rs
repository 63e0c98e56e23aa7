//! Forms of a page.

use super::html::{Element, Html};
use super::{BrowserError, Page};

/// A form of a [`Page`] with its current values.
#[derive(Clone, Debug)]
pub struct Form {
    page: Page,
    action: String,
    method: String,
    fields: Vec<(String, String)>,
    buttons: Vec<Button>,
}

#[derive(Clone, Debug)]
struct Button {
    text: String,
    name: Option<String>,
    value: String,
}

impl Form {
    pub(super) fn parse(page: &Page, html: &Html, form: &Element) -> Result<Self, BrowserError> {
        let mut parsed = Self {
            page: page.clone(),
            action: form.attribute("action").unwrap_or_default().to_owned(),
            method: form.attribute("method").unwrap_or("get").to_owned(),
            fields: Vec::new(),
            buttons: Vec::new(),
        };
        for element in html.inside(form) {
            let name = element.attribute("name").map(str::to_owned);
            let value = element.attribute("value").map(str::to_owned);
            let kind = element.attribute("type").unwrap_or_default();
            match (element.name.as_str(), kind) {
                ("button", "" | "submit") => parsed.buttons.push(Button {
                    text: element.text.clone(),
                    name,
                    value: value.unwrap_or_default(),
                }),
                ("input", "submit") => {
                    let value = value.unwrap_or_default();
                    parsed.buttons.push(Button {
                        text: value.clone(),
                        name,
                        value,
                    });
                }
                ("input", "checkbox" | "radio") if element.attribute("checked").is_none() => {}
                ("input", "button" | "reset" | "image" | "file") => {}
                ("input", _) => {
                    parsed
                        .fields
                        .extend(name.map(|name| (name, value.unwrap_or_default())));
                }
                ("textarea", _) => {
                    parsed
                        .fields
                        .extend(name.map(|name| (name, element.text.clone())));
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Returns the current value of a field.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find_map(|(field, value)| (field == name).then_some(value.as_str()))
    }

    /// Sets the value of a field.
    ///
    /// # Errors
    ///
    /// [`BrowserError::NotOnPage`] if the form has no such field.
    pub fn fill(mut self, name: &str, value: &str) -> Result<Self, BrowserError> {
        let field = self.fields.iter_mut().find(|(field, _)| field == name);
        let (_, old) = field.ok_or_else(|| self.page.missing("field", name))?;
        value.clone_into(old);
        Ok(self)
    }

    /// Submits the form with the button that has this text or value.
    ///
    /// # Errors
    ///
    /// [`BrowserError::NotOnPage`] if the form has no such button, and those of
    /// [`Browser::navigate`](super::Browser::navigate).
    pub async fn press(&self, button: &str) -> Result<Page, BrowserError> {
        let pressed = self
            .buttons
            .iter()
            .find(|candidate| candidate.text == button || candidate.value == button);
        let pressed = pressed.ok_or_else(|| self.page.missing("button", button))?;
        self.submit_with(Some(pressed)).await
    }

    /// Submits the form with its first button, as the return key does.
    ///
    /// # Errors
    ///
    /// Those of [`Browser::navigate`](super::Browser::navigate).
    pub async fn submit(&self) -> Result<Page, BrowserError> {
        self.submit_with(self.buttons.first()).await
    }

    async fn submit_with(&self, button: Option<&Button>) -> Result<Page, BrowserError> {
        let mut pairs = self.fields.clone();
        if let Some(Button {
            name: Some(name),
            value,
            ..
        }) = button
        {
            pairs.push((name.clone(), value.clone()));
        }
        self.page
            .send_form(&self.method, &self.action, &pairs)
            .await
    }
}
