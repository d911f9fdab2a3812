//! The certificate that the first start makes: an authority of its own, and a server certificate signed by it.
//!
//! The authority's key signs once and is thrown away: whoever trusts `ca.pem` trusts this one server and nothing that
//! anybody could sign later.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use zeroize::Zeroizing;

/// As long as the authority: there is no key left that could renew the certificate.
const VALID_DAYS: u64 = 3650;
/// Clients' clocks may be behind.
const VALID_BEFORE_DAYS: u64 = 2;
const ALWAYS_NAMED: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// What was made.
pub struct MadeCertificate {
    /// PEM of the authority: what clients trust.
    pub ca_pem: String,
    /// PEM chain of the server, leaf first.
    pub server_pem: String,
    /// PEM of the server's private key.
    pub server_key_pem: Zeroizing<String>,
}

/// Why none could be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate library refused.
    #[error("cannot make a certificate: {0}")]
    Rcgen(#[from] rcgen::Error),
    /// The system's clock is before 1970 or beyond reason.
    #[error("cannot make a certificate: the system's clock is wrong")]
    Clock,
}

/// Makes a certificate for the loopback addresses, `localhost` and `names` (host names or addresses; what can be neither
/// is left out).
///
/// # Errors
/// [`AuthorityError`]
pub fn make(names: &[String]) -> Result<MadeCertificate, AuthorityError> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name = named("SealQ local authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut ca)?;
    let ca_pem = ca.self_signed(&ca_key)?.pem();

    let server_key = KeyPair::generate()?;
    let mut server = CertificateParams::new(subject_names(names))?;
    server.distinguished_name = named("SealQ");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    validity(&mut server)?;
    let server_pem = server.signed_by(&server_key, &Issuer::new(ca, ca_key))?.pem();
    Ok(MadeCertificate { ca_pem, server_pem, server_key_pem: Zeroizing::new(server_key.serialize_pem()) })
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn subject_names(names: &[String]) -> Vec<String> {
    let mut subject: Vec<String> = ALWAYS_NAMED.map(str::to_owned).to_vec();
    for name in names {
        let usable = !name.is_empty() && CertificateParams::new(vec![name.clone()]).is_ok();
        if usable && !subject.contains(name) {
            subject.push(name.clone());
        }
    }
    subject
}

fn validity(params: &mut CertificateParams) -> Result<(), AuthorityError> {
    let day = Duration::from_secs(86_400);
    let now = jiff::Timestamp::now();
    let before = now.checked_sub(day * VALID_BEFORE_DAYS as u32).map_err(|_| AuthorityError::Clock)?;
    let after = now.checked_add(day * VALID_DAYS as u32).map_err(|_| AuthorityError::Clock)?;
    for (bound, at) in [(&mut params.not_before, before), (&mut params.not_after, after)] {
        let date = jiff::tz::Offset::UTC.to_datetime(at).date();
        let number = |value: i8| u8::try_from(value).map_err(|_| AuthorityError::Clock);
        if !(1970..9000).contains(&date.year()) {
            return Err(AuthorityError::Clock);
        }
        *bound = date_time_ymd(i32::from(date.year()), number(date.month())?, number(date.day())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_in_no_certificate_are_left_out() {
        let names =
            ["box".to_owned(), "localhost".to_owned(), "ü".to_owned(), String::new(), "10.0.0.1".to_owned()];
        assert_eq!(subject_names(&names), ["127.0.0.1", "::1", "localhost", "box", "10.0.0.1"]);
    }
}
