//! The HTTP client of the connections to the suite: its certificate authorities, and our certificate.

use std::error::Error;
use std::fs;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};

use super::configuration::Configuration;

pub(crate) fn http_client(configuration: &Configuration) -> Result<Client, Box<dyn Error>> {
    let read = |path: &str| fs::read(path).map_err(|error| format!("{path}: {error}"));
    let mut client = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(10));
    if let Some(path) = &configuration.ca {
        for certificate in Certificate::from_pem_bundle(&read(path)?)? {
            client = client.add_root_certificate(certificate);
        }
    }
    if let Some(files) = &configuration.client_certificate {
        let mut pem = read(&files.key)?;
        pem.push(b'\n');
        pem.extend(read(&files.certificate)?);
        client = client.identity(Identity::from_pem(&pem)?);
    }
    Ok(client.build()?)
}
