//! The keys and certificates of the cluster: one authority, one certificate each for server, node and admin.

use std::io::Write as _;
use std::{fs, net::IpAddr, os::unix::fs::OpenOptionsExt as _, path::Path};

use jiff::{Timestamp, ToSpan as _, Zoned, tz::TimeZone};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use super::{
    config,
    error::{FileContext as _, Result},
};

/// Writes everything into `folder`.
pub(super) fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).at("create folder", folder)?;
    let authority_key = KeyPair::generate()?;
    let mut authority = params("test-cluster-ca", None);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let certificate = authority.self_signed(&authority_key)?;
    save(folder, "ca", &authority_key, &certificate)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut server = params("kube-apiserver", None);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for address in ["127.0.0.1", config::NODE_ADDRESS, config::API_CLUSTER_ADDRESS] {
        if let Ok(address) = address.parse::<IpAddr>() {
            server.subject_alt_names.push(SanType::IpAddress(address));
        }
    }
    for name in ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
        server.subject_alt_names.push(SanType::DnsName(name.try_into()?));
    }
    issue(folder, "server", server, &issuer)?;
    for (name, common_name, organization) in
        [("admin", "admin", "system:masters"), ("node", concat!("system:node:", "node-1"), "system:nodes")]
    {
        let mut client = params(common_name, Some(organization));
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        issue(folder, name, client, &issuer)?;
    }

    let accounts = KeyPair::generate()?;
    save_text(folder, "service-accounts.key", &accounts.serialize_pem())?;
    save_text(folder, "service-accounts.pub", &accounts.public_key_pem())
}

fn params(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    // Clocks differ and jump: valid since yesterday, for two years.
    let today = Zoned::new(Timestamp::now(), TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(today.saturating_sub(1.day()));
    params.not_after = day(today.saturating_add(2.years()));
    params
}

fn issue(
    folder: &Path,
    name: &str,
    mut params: CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<()> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    save(folder, name, &key, &certificate)
}

fn save(folder: &Path, name: &str, key: &KeyPair, certificate: &Certificate) -> Result<()> {
    save_text(folder, &format!("{name}.crt"), &certificate.pem())?;
    save_text(folder, &format!("{name}.key"), &key.serialize_pem())
}

fn save_text(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    let mut options = fs::File::options();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&path).at("create", &path)?;
    file.write_all(text.as_bytes()).at("write", &path)
}
