//! How the frontend asks the queriers: over which scheme, trusting whom, and what of it cannot work.

use crds::{
    names::pod,
    server::{ClientTls, Scheme},
};
use serde_json::json;

use super::{
    listen::HttpAccess,
    serving::{Files, authority, certificate, projected},
};
use crate::discovery::QueryServiceChoice;

/// A connection of its own for each request. A kept one would be used again and again, and with it one querier: of 60
/// queries one after the other all met the same of two, and with this 31 the one and 29 the other, in less time.
const NO_KEPT_CONNECTIONS: &str = "max_idle_conns_per_host: -1";

const FIELD: &str = "spec.queryFrontend.downstreamTls";
const FORWARD: &str = "--query-frontend.forward-header";
const TRIPPER: &str = "--query-frontend.downstream-tripper-config";

/// How the frontend asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Downstream<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// What is said about TLS; none where none is spoken.
    pub tls: Option<&'a ClientTls>,
}

/// What the frontend asks.
#[derive(Clone, Copy, Debug)]
pub struct Queriers<'a> {
    /// Whose they are.
    pub choice: &'a QueryServiceChoice,
    /// What they want of whoever asks, when they are of the same object.
    pub access: HttpAccess,
    /// What they speak, when they are of the same object and anybody knows.
    pub scheme: Option<Scheme>,
}

// === impl Queriers ===

impl Queriers<'_> {
    /// Whether they are of the same object.
    pub fn are_own(&self) -> bool {
        *self.choice == QueryServiceChoice::Own
    }

    /// Whether they may refuse the frontend's own question whether they are ready: a web configuration that nobody here
    /// reads may want a password.
    pub fn may_refuse(&self) -> bool {
        self.are_own() && self.access == HttpAccess::Unread
    }
}

// === impl Downstream ===

impl<'a> Downstream<'a> {
    /// How to ask `queriers`. Where nobody knows what they speak, it is told by whether anything is said about TLS.
    pub fn of(queriers: &Queriers<'_>, tls: Option<&'a ClientTls>) -> Self {
        let known = queriers.scheme.filter(|_| queriers.are_own());
        let said = if tls.is_some() { Scheme::Https } else { Scheme::Http };
        let scheme = known.unwrap_or(said);
        Self { scheme, tls: tls.filter(|_| scheme == Scheme::Https) }
    }

    /// The configuration of the frontend's connections.
    pub fn tripper_config(&self) -> String {
        let Some(tls) = self.tls else { return format!("{{{NO_KEPT_CONNECTIONS}}}") };
        let ClientTls { ca, certificate, server_name, insecure_skip_verify } = tls;
        let file = |name: &str| json!(format!("{}/{name}", pod::DOWNSTREAM_TLS_FOLDER));
        let mut fields = Vec::new();
        if ca.is_some() {
            fields.push(("ca_file", file(pod::CA_FILE)));
        }
        if certificate.is_some() {
            fields.push(("cert_file", file(pod::CERTIFICATE_FILE)));
            fields.push(("key_file", file(pod::PRIVATE_KEY_FILE)));
        }
        if let Some(name) = server_name {
            fields.push(("server_name", json!(name)));
        }
        if *insecure_skip_verify == Some(true) {
            fields.push(("insecure_skip_verify", json!(true)));
        }
        let fields: Vec<String> =
            fields.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{{{NO_KEPT_CONNECTIONS}, tls_config: {{{}}}}}", fields.join(", "))
    }

    /// What the pods need for it.
    pub fn files(&self) -> Files {
        let mut files = Files::default();
        let Some(ClientTls { ca, certificate: own, .. }) = self.tls else { return files };
        let ca = ca.iter().map(|ca| authority(ca, pod::CA_FILE));
        let sources: Vec<_> = ca.chain(own.iter().map(certificate)).collect();
        if !sources.is_empty() {
            files.add(projected(pod::DOWNSTREAM_TLS_VOLUME, sources), pod::DOWNSTREAM_TLS_FOLDER);
        }
        files
    }

    /// Tells what does not work between the frontend and `queriers`; `given` are the arguments of the user, who may say
    /// everything about the connections there.
    pub fn tell(
        &self,
        queriers: &Queriers<'_>,
        tls: Option<&ClientTls>,
        given: &[String],
        problems: &mut Vec<String>,
        remarks: &mut Vec<String>,
    ) {
        if !queriers.are_own() {
            return;
        }
        if tls.is_some() && self.scheme == Scheme::Http {
            remarks.push(format!("{FIELD}: has no effect, since the queriers of this object serve no TLS"));
        }
        let is_configured = given.iter().any(|arg| arg.starts_with(TRIPPER));
        let shows_certificate = tls.is_some_and(|tls| tls.certificate.is_some());
        if queriers.access == HttpAccess::ClientTls && !shows_certificate && !is_configured {
            problems.push(format!(
                "{FIELD}.certificate: is missing, and the queriers want a certificate of whoever asks \
                 (spec.server.httpTls.clientCa): no query gets through the frontend; add it"
            ));
        }
        let trusts = tls.is_some_and(|tls| tls.ca.is_some() || tls.insecure_skip_verify == Some(true));
        if self.scheme == Scheme::Https && !trusts && !is_configured {
            remarks.push(format!(
                "{FIELD}.ca: is missing, so the frontend trusts the queriers only if an authority in its image has \
                 signed their certificate; add the authority that has"
            ));
        }
        if queriers.may_refuse() && !given.iter().any(|arg| arg.starts_with(FORWARD)) {
            remarks.push(
                "spec.queryFrontend: if the web configuration of the queriers wants a password, clients have to send it, \
                 and the frontend passes it on with additionalArgs: [--query-frontend.forward-header=Authorization]"
                    .to_owned(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: QueryServiceChoice = QueryServiceChoice::Other { name: String::new(), http_port: 9090 };

    fn own(access: HttpAccess, scheme: Option<Scheme>) -> Queriers<'static> {
        Queriers { choice: &QueryServiceChoice::Own, access, scheme }
    }

    fn tls(fields: &str) -> ClientTls {
        serde_saphyr::from_str(&format!("{{{fields}}}")).expect("client TLS")
    }

    fn told(queriers: &Queriers<'_>, tls: Option<&ClientTls>, given: &[&str]) -> (Vec<String>, Vec<String>) {
        let given: Vec<String> = given.iter().map(|&arg| arg.to_owned()).collect();
        let (mut problems, mut remarks) = (vec![], vec![]);
        Downstream::of(queriers, tls).tell(queriers, tls, &given, &mut problems, &mut remarks);
        (problems, remarks)
    }

    #[test]
    fn own_queriers_are_asked_as_they_speak_and_others_as_is_said() {
        let tls = tls("");
        let scheme = |queriers: &Queriers<'_>, tls| Downstream::of(queriers, tls).scheme;
        let http = own(HttpAccess::Plain, Some(Scheme::Http));
        let https = own(HttpAccess::Tls, Some(Scheme::Https));
        let unknown = own(HttpAccess::Unread, None);
        let other = Queriers { choice: &OTHER, ..http };
        assert_eq!((scheme(&http, None), scheme(&http, Some(&tls))), (Scheme::Http, Scheme::Http));
        assert_eq!((scheme(&https, None), scheme(&https, Some(&tls))), (Scheme::Https, Scheme::Https));
        assert_eq!((scheme(&unknown, None), scheme(&unknown, Some(&tls))), (Scheme::Http, Scheme::Https));
        assert_eq!((scheme(&other, None), scheme(&other, Some(&tls))), (Scheme::Http, Scheme::Https));
    }

    #[test]
    fn without_tls_the_configuration_is_as_it_was() {
        let plain = Downstream::of(&own(HttpAccess::Plain, Some(Scheme::Http)), None);
        assert_eq!(plain.tripper_config(), "{max_idle_conns_per_host: -1}");
        assert_eq!(plain.files(), Files::default());
    }

    #[test]
    fn what_is_said_about_tls_names_mounted_files() {
        let tls = tls(
            "ca: {secretName: authority}, certificate: {secretName: client}, serverName: queriers.example, insecureSkipVerify: false",
        );
        let downstream = Downstream::of(&own(HttpAccess::Tls, Some(Scheme::Https)), Some(&tls));
        assert_eq!(
            downstream.tripper_config(),
            "{max_idle_conns_per_host: -1, tls_config: {ca_file: \"/etc/thanos/downstream-tls/ca.crt\", \
             cert_file: \"/etc/thanos/downstream-tls/tls.crt\", key_file: \"/etc/thanos/downstream-tls/tls.key\", \
             server_name: \"queriers.example\"}}"
        );
        let files = downstream.files();
        assert_eq!(files.mounts[0].mount_path, "/etc/thanos/downstream-tls");
        let sources =
            files.volumes[0].projected.as_ref().and_then(|own| own.sources.as_ref()).expect("sources");
        let names: Vec<&str> =
            sources.iter().filter_map(|own| own.secret.as_ref()).map(|own| own.name.as_str()).collect();
        assert_eq!(names, ["authority", "client"]);
    }

    #[test]
    fn what_cannot_get_through_is_told_with_its_field() {
        let mutual = own(HttpAccess::ClientTls, Some(Scheme::Https));
        let ca = tls("ca: {secretName: a}");
        let (problems, remarks) = told(&mutual, Some(&ca), &[]);
        assert!(problems[0].starts_with("spec.queryFrontend.downstreamTls.certificate: "), "{problems:?}");
        assert!(remarks.is_empty(), "{remarks:?}");
        let both = tls("ca: {secretName: a}, certificate: {secretName: b}");
        assert_eq!(told(&mutual, Some(&both), &[]), (vec![], vec![]));
        // Whoever configures the connections by hand is not told what they lack.
        assert_eq!(told(&mutual, None, &["--query-frontend.downstream-tripper-config={}"]), (vec![], vec![]));
        let (_, remarks) = told(&own(HttpAccess::Tls, Some(Scheme::Https)), None, &[]);
        assert!(remarks[0].starts_with("spec.queryFrontend.downstreamTls.ca: is missing"), "{remarks:?}");
    }

    #[test]
    fn what_has_no_effect_is_told_and_of_others_nothing_is() {
        let ca = tls("ca: {secretName: a}");
        let plain = own(HttpAccess::Plain, Some(Scheme::Http));
        let (_, remarks) = told(&plain, Some(&ca), &[]);
        assert!(remarks[0].contains("has no effect"), "{remarks:?}");
        assert_eq!(told(&Queriers { choice: &OTHER, ..plain }, Some(&ca), &[]), (vec![], vec![]));
    }

    #[test]
    fn queriers_that_may_want_a_password_are_told_of() {
        let unread = own(HttpAccess::Unread, Some(Scheme::Http));
        assert!(unread.may_refuse());
        let (_, remarks) = told(&unread, None, &[]);
        assert!(remarks[0].contains("--query-frontend.forward-header=Authorization"), "{remarks:?}");
        let done = told(&unread, None, &["--query-frontend.forward-header=Authorization"]);
        assert_eq!(done, (vec![], vec![]));
    }
}
