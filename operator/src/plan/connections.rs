//! How Thanos connects to endpoints, over TLS or not: the settings of the spec, the files that they are mounted as, and the
//! flags that stand for the default where the file of a pod cannot say it.
//!
//! A path tells what its file is for and not from which Secret it comes. So another Secret is another mount and the
//! same document: pods that are not replaced yet go on with what they have.

use std::collections::BTreeMap;

use crds::{
    ThanosQuery,
    endpoint_tls::{Authorities, AuthoritiesKind, ClientCertificate, EndpointTls, MinTlsVersion},
    names::pod::TLS_FOLDER,
};
use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, SecretVolumeSource, Volume, VolumeMount};
use sd_agent::{
    Address, ClientTls, Feature, ThanosVersion,
    in_file::{CertificateFiles, TlsSettings, TlsVersion},
    payload::sha256_hex,
};

use super::{Delivery, Said, agent::mount, arg::Arg};
use crate::discovery::TlsChoice;

/// The keys of a Secret with a certificate.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// As long as a hash in a name is.
const HASH: usize = 16;
/// Longest name of a volume.
const LONGEST_NAME: usize = 63;
/// The lowest version before Thanos had a flag for it, and the one to stay with.
const MIN_VERSION_FLAG: &str = "--grpc-client-tls-min-version";
const SECURE_FLAG: &str = "--grpc-client-tls-secure";
const FIELD: &str = "spec.serviceDiscovery.tls";
/// How the flags end with which Thanos has one way to connect to all.
const OF_FLAGS: [&str; 7] = [
    "-grpc-client-tls-secure",
    "-grpc-client-tls-skip-verify",
    "-grpc-client-tls-cert",
    "-grpc-client-tls-key",
    "-grpc-client-tls-ca",
    "-grpc-client-tls-min-version",
    "-grpc-client-server-name",
];

/// How the endpoints of a ThanosQuery are connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    default: Option<Named>,
    profiles: BTreeMap<String, Named>,
    /// Of endpoints that the spec adds, by their address.
    additional: BTreeMap<String, Named>,
}

/// Settings, and the folder of their files.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    folder: String,
    tls: EndpointTls,
}

/// How one endpoint is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// As the flags of the pod say.
    AsFlags,
    /// Without TLS.
    Plaintext,
    /// Over TLS.
    Tls(TlsSettings),
}

/// Settings with which Thanos could connect to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}; nothing was changed")]
pub struct TlsError {
    field: String,
    problem: String,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Secret(String),
    ConfigMap(String),
}

// === impl Connections ===

impl Connections {
    /// As `query` says.
    ///
    /// # Errors
    /// When the API server let something pass that its schema forbids: nobody may connect in another way than meant.
    pub fn of(query: &ThanosQuery) -> Result<Self, TlsError> {
        let spec = &query.spec.service_discovery;
        let default =
            spec.tls.as_ref().map(|tls| Named::new(FIELD, "default".to_owned(), tls)).transpose()?;
        let mut all = Self { default, ..Self::default() };
        for profile in &spec.tls_profiles {
            let field = format!("spec.serviceDiscovery.tlsProfiles[{}]", profile.name);
            let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if profile.name.is_empty() || !profile.name.chars().all(is_label) {
                return Err(TlsError { field, problem: "is no name of a profile; correct it".to_owned() });
            }
            let named = Named::new(&field, format!("profile-{}", profile.name), &profile.tls)?;
            all.profiles.insert(profile.name.clone(), named);
        }
        for (index, endpoint) in spec.additional_endpoints.iter().enumerate() {
            if let Some(tls) = endpoint.tls.as_ref().filter(|tls| !tls.disabled) {
                let field = format!("spec.serviceDiscovery.additionalEndpoints[{index}].tls");
                // Not by its number: that is another one's when an endpoint before it goes.
                let folder = format!("endpoint-{}", &sha256_hex(endpoint.address.as_bytes())[..HASH]);
                all.additional.insert(endpoint.address.clone(), Named::new(&field, folder, &tls.tls)?);
            }
        }
        Ok(all)
    }

    /// Whether there is something for all endpoints.
    pub fn has_default(&self) -> bool {
        self.default.is_some()
    }

    /// What a Service gets that says `choice`; none when there is no such profile any more.
    pub fn of_service(&self, choice: &TlsChoice) -> Option<Connection> {
        match choice {
            TlsChoice::Default => Some(self.by_default()),
            TlsChoice::Off => Some(Connection::Plaintext),
            TlsChoice::Profile(name) => {
                self.profiles.get(name).map(|named| Connection::Tls(named.settings(false)))
            }
        }
    }

    /// What an endpoint gets that says nothing.
    pub fn by_default(&self) -> Connection {
        self.default.as_ref().map_or(Connection::AsFlags, |named| Connection::Tls(named.settings(true)))
    }

    /// What the endpoint of the spec at `address` has of its own.
    pub fn of_address(&self, address: &str) -> Option<Connection> {
        self.additional.get(address).map(|named| Connection::Tls(named.settings(false)))
    }

    /// The default as flags, where the entries of the file cannot say it.
    pub fn flags(&self, version: ThanosVersion, delivery: Delivery) -> Vec<Arg> {
        let Some(default) = &self.default else { return vec![] };
        if version.supports(Feature::EndpointTls) && delivery != Delivery::Flags {
            return vec![];
        }
        let TlsSettings {
            ca_file,
            certificate,
            server_name,
            min_version,
            insecure_skip_verify,
            inherited: _,
        } = default.settings(true);
        let mut flags = vec![Arg::switch(SECURE_FLAG)];
        let mut value =
            |name, value: Option<String>| flags.extend(value.map(|value| Arg::value(name, value)));
        value("--grpc-client-tls-ca", ca_file);
        let (cert, key) = certificate.map(|files| (files.cert_file, files.key_file)).unzip();
        value("--grpc-client-tls-cert", cert);
        value("--grpc-client-tls-key", key);
        value("--grpc-client-server-name", server_name);
        if version.supports(Feature::EndpointTls) {
            value(MIN_VERSION_FLAG, Some(version_name(min_version).to_owned()));
        }
        if insecure_skip_verify {
            flags.push(Arg::switch("--grpc-client-tls-skip-verify"));
        }
        flags.into_iter().map(|flag| flag.of(FIELD)).collect()
    }

    /// What of the default works otherwise than it seems.
    pub fn remark(&self, version: ThanosVersion, delivery: Delivery) -> Option<String> {
        let default = self.default.as_ref()?;
        let is_said = version.supports(Feature::EndpointTls);
        if !is_said && default.tls.min_version == MinTlsVersion::Tls13 {
            return Some(format!(
                "{FIELD}.minVersion: this release of Thanos has no flag for it, and speaks TLS 1.2, too"
            ));
        }
        (default.tls.server_name.is_none() && (!is_said || delivery == Delivery::Flags)).then(|| {
            format!(
                "{FIELD}: as flags of Thanos it expects the host of each address in the certificate, which is an IP address \
                 for headless Services and no name at all for groups; set serverName to a name that all certificates \
                 have, or use Thanos v0.42 and mode File"
            )
        })
    }

    /// Every Secret and ConfigMap once.
    pub fn volumes(&self) -> Vec<Volume> {
        let mut required: BTreeMap<Source, bool> = BTreeMap::new();
        for named in self.all() {
            for (source, _) in named.files() {
                *required.entry(source).or_default() |= named.tls.required;
            }
        }
        required.into_iter().map(|(source, required)| source.volume(required)).collect()
    }

    /// Where they are mounted.
    pub fn mounts(&self) -> Vec<VolumeMount> {
        let files = self.all().flat_map(Named::files);
        files.map(|(source, folder)| mount(&source.volume_name(), &folder, true)).collect()
    }

    /// The folders that [`Self::mounts`] makes: of these a pod that has them can use the files.
    pub fn folders(&self) -> Vec<String> {
        self.all().flat_map(Named::files).map(|(_, folder)| folder).collect()
    }

    /// What of it is in a pod template, as texts.
    pub fn inputs(&self, version: ThanosVersion, delivery: Delivery) -> Vec<String> {
        let volumes = self.volumes();
        let volumes = volumes.iter().map(|volume| serde_json::json!(volume).to_string());
        let mounts = self.mounts().into_iter().map(|mount| format!("{}={}", mount.mount_path, mount.name));
        let flags = self.flags(version, delivery).into_iter().map(|flag| flag.to_string());
        volumes.chain(mounts).chain(flags).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Named> {
        let Self { default, profiles, additional } = self;
        default.iter().chain(profiles.values()).chain(additional.values())
    }
}

/// The flags of users that say nothing any more, once the entry of each endpoint says it.
pub fn without_effect(said: &Said<'_>, names: impl Iterator<Item = String>) -> Option<String> {
    let is_in_file = said.version.supports(Feature::EndpointTls) && said.delivery != Delivery::Flags;
    if !is_in_file || !said.connections.has_default() {
        return None;
    }
    let flags: Vec<String> = names.filter(|name| OF_FLAGS.iter().any(|own| name.ends_with(own))).collect();
    (!flags.is_empty()).then(|| {
        format!(
            "spec.additionalArgs: {} has no effect, since {FIELD} is for all endpoints; remove it",
            flags.join(", ")
        )
    })
}

/// Until 0.41 Thanos spoke TLS 1.2 to stores; from 0.42 it refuses those that speak nothing newer unless it is told.
/// Whoever switched TLS on by a flag stays with what worked.
pub fn keep_tls_1_2(version: ThanosVersion, has: impl Fn(&str) -> bool) -> Option<Arg> {
    let is_needed = version.supports(Feature::EndpointTls) && has(SECURE_FLAG) && !has(MIN_VERSION_FLAG);
    is_needed.then(|| Arg::value(MIN_VERSION_FLAG, version_name(TlsVersion::Tls12)))
}

fn version_name(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls10 => "1.0",
        TlsVersion::Tls11 => "1.1",
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    }
}

// === impl Named ===

impl Named {
    fn new(field: &str, folder: String, tls: &EndpointTls) -> Result<Self, TlsError> {
        let wrong = |problem: &str| TlsError { field: field.to_owned(), problem: problem.to_owned() };
        if let Some(Authorities { kind: _, name: _, key }) = &tls.ca {
            let is_key = !key.is_empty()
                && !matches!(key.as_str(), "." | "..")
                && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            if !is_key {
                return Err(wrong("ca.key: is no key of a Secret; correct it"));
            }
        }
        if tls.server_name.as_deref().is_some_and(|name| Address::plain(name, 1).is_err()) {
            return Err(wrong("serverName: is no host name; write it without a port"));
        }
        Ok(Self { folder, tls: tls.clone() })
    }

    /// What is mounted where.
    fn files(&self) -> impl Iterator<Item = (Source, String)> {
        let EndpointTls { ca, certificate, .. } = &self.tls;
        let ca = ca.as_ref().map(|ca| (Source::of(ca), self.ca_folder()));
        let certificate = certificate.as_ref().map(|ClientCertificate { secret_name }| {
            (Source::Secret(secret_name.clone()), self.certificate_folder())
        });
        ca.into_iter().chain(certificate)
    }

    fn ca_folder(&self) -> String {
        format!("{TLS_FOLDER}/{}/ca", self.folder)
    }

    fn certificate_folder(&self) -> String {
        format!("{TLS_FOLDER}/{}/client", self.folder)
    }

    fn settings(&self, inherited: bool) -> TlsSettings {
        let EndpointTls { ca, certificate, server_name, min_version, insecure_skip_verify, required: _ } =
            &self.tls;
        TlsSettings {
            ca_file: ca.as_ref().map(|ca| format!("{}/{}", self.ca_folder(), ca.key)),
            certificate: certificate.as_ref().map(|_| CertificateFiles {
                cert_file: format!("{}/{CERTIFICATE}", self.certificate_folder()),
                key_file: format!("{}/{KEY}", self.certificate_folder()),
            }),
            server_name: server_name.clone(),
            min_version: match min_version {
                MinTlsVersion::Tls10 => TlsVersion::Tls10,
                MinTlsVersion::Tls11 => TlsVersion::Tls11,
                MinTlsVersion::Tls12 => TlsVersion::Tls12,
                MinTlsVersion::Tls13 => TlsVersion::Tls13,
            },
            insecure_skip_verify: *insecure_skip_verify,
            inherited,
        }
    }
}

// === impl Connection ===

impl Connection {
    /// The same, with `name` as the name that the certificate must have, unless the settings say one.
    pub fn expecting(self, name: impl FnOnce() -> Option<String>) -> Self {
        match self {
            Self::Tls(settings) => {
                Self::Tls(TlsSettings { server_name: settings.server_name.clone().or_else(name), ..settings })
            }
            other => other,
        }
    }

    /// As an entry of the document says it.
    pub fn in_file(&self) -> Option<ClientTls> {
        match self {
            Self::AsFlags => None,
            Self::Plaintext => Some(ClientTls::Plaintext),
            Self::Tls(settings) => Some(ClientTls::Tls(settings.clone())),
        }
    }
}

// === impl Source ===

impl Source {
    fn of(authorities: &Authorities) -> Self {
        let Authorities { kind, name, key: _ } = authorities;
        match kind {
            AuthoritiesKind::Secret => Self::Secret(name.clone()),
            AuthoritiesKind::ConfigMap => Self::ConfigMap(name.clone()),
        }
    }

    /// Two names are never the same volume.
    fn volume_name(&self) -> String {
        let (prefix, name) = match self {
            Self::Secret(name) => ("tls-secret-", name),
            Self::ConfigMap(name) => ("tls-configmap-", name),
        };
        let whole = format!("{prefix}{}", name.replace('.', "-"));
        if whole.len() <= LONGEST_NAME && !name.contains('.') {
            return whole;
        }
        let kept: String = whole.chars().take(LONGEST_NAME - HASH - 1).collect();
        format!("{kept}-{}", &sha256_hex(name.as_bytes())[..HASH])
    }

    fn volume(&self, required: bool) -> Volume {
        let mut volume = Volume { name: self.volume_name(), ..Volume::default() };
        let optional = (!required).then_some(true);
        match self {
            Self::Secret(name) => {
                let secret_name = Some(name.clone());
                volume.secret =
                    Some(SecretVolumeSource { secret_name, optional, ..SecretVolumeSource::default() });
            }
            Self::ConfigMap(name) => {
                let name = name.clone();
                volume.config_map =
                    Some(ConfigMapVolumeSource { name, optional, ..ConfigMapVolumeSource::default() });
            }
        }
        volume
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "tls: {ca: {kind: ConfigMap, name: ca}, certificate: {secretName: own}}, \
        tlsProfiles: [{name: eu, ca: {name: own, key: eu.crt}, required: true}, {name: us, insecureSkipVerify: true}], \
        additionalEndpoints: [{address: 'a:1', tls: {ca: {name: x.y}}}, {address: 'b:1', tls: {disabled: true}}]";

    fn read(discovery: &str) -> Result<Connections, TlsError> {
        let yaml = format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global}}, spec: {{serviceDiscovery: {{{discovery}}}}}}}"
        );
        Connections::of(&serde_saphyr::from_str(&yaml).expect("a ThanosQuery"))
    }

    fn flags(discovery: &str, version: &str, delivery: Delivery) -> String {
        let connections = read(discovery).expect("valid");
        let flags = connections.flags(version.parse().expect("a version"), delivery);
        flags.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    const FILE: Delivery = Delivery::Agent { api: true };

    #[test]
    fn every_secret_is_one_volume_which_waits_for_it_only_if_somebody_says_so() {
        let connections = read(ALL).expect("valid");
        let told = |volume: &Volume| {
            let secret = volume.secret.as_ref().map(|secret| (secret.secret_name.clone(), secret.optional));
            let config_map = volume.config_map.as_ref().map(|map| (Some(map.name.clone()), map.optional));
            secret.or(config_map).expect("a source")
        };
        let volumes: Vec<_> = connections.volumes().iter().map(told).collect();
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(volumes, [(name("own"), None), (name("x.y"), Some(true)), (name("ca"), Some(true))]);
        let mounts: Vec<String> = connections.mounts().into_iter().map(|mount| mount.mount_path).collect();
        assert_eq!(mounts[..3], ["/tls/default/ca", "/tls/default/client", "/tls/profile-eu/ca"]);
        assert_eq!(mounts, connections.folders());
        let names = connections.volumes().into_iter().map(|volume| volume.name);
        assert!(names.clone().all(|name| name.len() <= 63 && !name.contains('.')), "{names:?}");
    }

    #[test]
    fn another_secret_is_another_mount_and_the_same_document() {
        let settings = |secret: &str| {
            let discovery = format!("tlsProfiles: [{{name: eu, ca: {{name: {secret}}}}}]");
            let connections = read(&discovery).expect("valid");
            let version = ThanosVersion::new(0, 42, 4);
            let profile = connections.of_service(&TlsChoice::Profile("eu".to_owned()));
            (profile.expect("a profile").in_file(), connections.inputs(version, FILE))
        };
        let ((before, inputs), (after, other_inputs)) = (settings("a"), settings("b"));
        assert_eq!(before, after);
        assert_ne!(inputs, other_inputs, "that is a wish of the user, and does not wait for its turn");
    }

    #[test]
    fn the_default_is_flags_only_where_a_file_cannot_say_it() {
        assert_eq!(flags(ALL, "v0.42.4", FILE), "");
        let common = "--grpc-client-tls-secure --grpc-client-tls-ca=/tls/default/ca/ca.crt \
             --grpc-client-tls-cert=/tls/default/client/tls.crt --grpc-client-tls-key=/tls/default/client/tls.key";
        for version in ["v0.35.1", "v0.41.0", "unknown"] {
            assert_eq!(flags(ALL, version, FILE), common);
        }
        assert_eq!(
            flags(ALL, "v0.42.4", Delivery::Flags),
            format!("{common} --grpc-client-tls-min-version=1.2")
        );
        let named = "tls: {serverName: a.example, insecureSkipVerify: true}";
        assert_eq!(
            flags(named, "v0.37.2", FILE),
            "--grpc-client-tls-secure --grpc-client-server-name=a.example --grpc-client-tls-skip-verify"
        );
        assert_eq!(flags("tlsProfiles: [{name: eu}]", "v0.37.2", FILE), "");
    }

    #[test]
    fn a_switch_of_the_user_keeps_tls_1_2_from_0_42_on() {
        let more = |version: &str, given: &[&str]| {
            let version = version.parse().expect("a version");
            keep_tls_1_2(version, |name| given.contains(&name)).map(|arg| arg.to_string())
        };
        let min = "--grpc-client-tls-min-version=1.2";
        assert_eq!(more("v0.42.4", &["--grpc-client-tls-secure"]).as_deref(), Some(min));
        assert_eq!(more("v0.42.4", &["--grpc-client-tls-secure", "--grpc-client-tls-min-version"]), None);
        assert_eq!(more("v0.41.0", &["--grpc-client-tls-secure"]), None);
        assert_eq!(more("v0.42.4", &["--no-grpc-client-tls-secure"]), None);
    }

    #[test]
    fn a_switch_of_the_user_that_says_nothing_any_more_is_told() {
        let told = |discovery: &str, version: &str| {
            let connections = read(discovery).expect("valid");
            let version = version.parse().expect("a version");
            let said = Said { connections: &connections, version, delivery: FILE, types_in_file: false };
            let names = ["--log.level", "--grpc-client-tls-secure", "--grpc-compression"].map(str::to_owned);
            without_effect(&said, names.into_iter())
        };
        let remark = told("tls: {}", "v0.42.4").expect("told");
        assert!(
            remark.starts_with("spec.additionalArgs: --grpc-client-tls-secure has no effect"),
            "{remark}"
        );
        assert_eq!(told("tls: {}", "v0.41.0"), None);
        assert_eq!(told("", "v0.42.4"), None);
    }

    #[test]
    fn what_the_schema_forbids_refuses_the_plan_and_names_its_field() {
        for (discovery, told) in [
            ("tls: {serverName: 'a b'}", "spec.serviceDiscovery.tls: serverName"),
            ("tls: {ca: {name: a, key: ../b}}", "spec.serviceDiscovery.tls: ca.key"),
            ("tlsProfiles: [{name: a/../b}]", "tlsProfiles[a/../b]"),
            (
                "additionalEndpoints: [{address: 'a:1', tls: {ca: {name: a, key: ..}}}]",
                "additionalEndpoints[0].tls: ca",
            ),
        ] {
            let error = read(discovery).expect_err(discovery).to_string();
            assert!(error.contains(told) && error.contains("nothing was changed"), "{error}");
        }
    }
}
