//! The page where users choose a provider.

use std::fmt;

use super::pages::{Escaped, FOOT, head};

/// The contents of the page where users choose a provider, for
/// [`LoginLayer::with_chooser_page`](super::LoginLayer::with_chooser_page).
///
/// Texts and URLs are not escaped. The page is sent with a content security policy that allows styles, images and fonts
/// of this origin, and no scripts.
#[derive(Debug)]
pub struct ChooserPage<'a> {
    pub(super) choices: Vec<ProviderChoice<'a>>,
    pub(super) accept_language: Option<&'a str>,
}

/// A provider that users can choose.
#[derive(Debug)]
pub struct ProviderChoice<'a> {
    pub(super) name: &'a str,
    pub(super) display_name: &'a str,
    pub(super) login_url: String,
}

impl ChooserPage<'_> {
    /// Returns the providers of the layer, the one that it was created with first.
    pub fn choices(&self) -> &[ProviderChoice<'_>] {
        &self.choices
    }

    /// Returns the `Accept-Language` field of the request (RFC 9110 §12.5.4). Escape it.
    pub fn accept_language(&self) -> Option<&str> {
        self.accept_language
    }
}

impl ProviderChoice<'_> {
    /// Returns the name of the provider.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns the name of the provider for users.
    pub fn display_name(&self) -> &str {
        self.display_name
    }

    /// Returns the URL of a link that signs in at this provider, with the parameters of the request, such as `return_to`.
    /// Escape it.
    pub fn login_url(&self) -> &str {
        &self.login_url
    }
}

/// The default page, as HTML.
impl fmt::Display for ChooserPage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}<h1>Sign in</h1><ul class=\"choices\">",
            head("Sign in")
        )?;
        for choice in &self.choices {
            let (url, name) = (Escaped(&choice.login_url), Escaped(choice.display_name));
            write!(
                f,
                "<li><a class=\"go\" href=\"{url}\">Sign in with {name}</a></li>"
            )?;
        }
        write!(f, "</ul>{FOOT}")
    }
}
