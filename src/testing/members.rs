//! JSON objects with raw values and repeated names, for tokens that a verifier has to reject.

use serde_json::Value;

/// Members of a JSON object in order: name and JSON text. Names can repeat.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(Vec<(String, String)>);

impl Members {
    pub(super) fn set(&mut self, name: &str, json: &str) {
        match self.0.iter_mut().find(|(member, _)| member == name) {
            Some((_, value)) => json.clone_into(value),
            None => self.add(name, json),
        }
    }

    pub(super) fn add(&mut self, name: &str, json: &str) {
        self.0.push((name.to_owned(), json.to_owned()));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(member, _)| member != name);
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Returns the value of the first member of this name if it is valid JSON.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        let (_, json) = self.0.iter().find(|(member, _)| member == name)?;
        serde_json::from_str(json).ok()
    }

    pub(super) fn text(&self) -> Vec<u8> {
        let members: Vec<String> = self
            .0
            .iter()
            .map(|(name, json)| format!("{}:{json}", Value::from(name.as_str())))
            .collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    }
}

/// Gives a builder with the fields `header` and `claims` the methods that change their members.
macro_rules! json_members {
    ($builder:ident) => {
        impl $builder {
            /// Sets a claim.
            pub fn with_claim(self, name: &str, value: impl Into<serde_json::Value>) -> Self {
                self.with_raw_claim(name, &value.into().to_string())
            }

            /// Sets a claim to this JSON text, which need not be valid: `1e400`, `"\ud800"`, `{`.
            pub fn with_raw_claim(mut self, name: &str, json: &str) -> Self {
                self.claims.set(name, json);
                self
            }

            /// Adds a claim even if there is one of that name.
            pub fn add_raw_claim(mut self, name: &str, json: &str) -> Self {
                self.claims.add(name, json);
                self
            }

            /// Removes a claim.
            pub fn without_claim(mut self, name: &str) -> Self {
                self.claims.remove(name);
                self
            }

            /// Sets a header parameter. Methods that set the key replace `alg` and `kid`.
            pub fn with_header(self, name: &str, value: impl Into<serde_json::Value>) -> Self {
                self.with_raw_header(name, &value.into().to_string())
            }

            /// Sets a header parameter to this JSON text, which need not be valid.
            pub fn with_raw_header(mut self, name: &str, json: &str) -> Self {
                self.header.set(name, json);
                self
            }

            /// Adds a header parameter even if there is one of that name.
            pub fn add_raw_header(mut self, name: &str, json: &str) -> Self {
                self.header.add(name, json);
                self
            }

            /// Removes a header parameter.
            pub fn without_header(mut self, name: &str) -> Self {
                self.header.remove(name);
                self
            }
        }
    };
}

pub(super) use json_members;
