use super::*;

fn spec(fields: &str) -> ThanosQuerySpec {
    serde_saphyr::from_str(&format!("{{{fields}}}")).expect("a spec")
}

fn args(fields: &str, version: &str) -> (Vec<String>, Vec<String>) {
    let (spec, mut refused) = (spec(fields), vec![]);
    let args = Serving::of_queriers(&spec).args(version.parse().expect("a version"), &mut refused);
    (args.iter().map(ToString::to_string).collect(), refused)
}

fn files(fields: &str) -> Files {
    Serving::of_queriers(&spec(fields)).files()
}

fn sources(volume: &Volume) -> Vec<(String, Vec<(String, String)>)> {
    let sources = volume.projected.as_ref().and_then(|own| own.sources.clone()).expect("a projected volume");
    let files = |secret: SecretProjection| {
        let items = secret.items.expect("named keys").into_iter();
        (secret.name, items.map(|item| (item.key, item.path)).collect())
    };
    sources.into_iter().filter_map(|source| source.secret.map(files)).collect()
}

const GRPC: &str = "server: {grpcTls: {certificate: {secretName: own}}}";
const HTTP: &str = "server: {httpTls: {certificate: {secretName: own}}}";

#[test]
fn without_a_server_nothing_is_asked_for() {
    assert_eq!(args("", "v0.42.4"), (vec![], vec![]));
    assert_eq!(files(""), Files::default());
}

#[test]
fn a_certificate_for_grpc_is_mounted_as_a_folder_and_named_by_flags() {
    assert_eq!(
        args(GRPC, "v0.35.1").0,
        [
            "--grpc-server-tls-cert=/etc/thanos/grpc-tls/tls.crt",
            "--grpc-server-tls-key=/etc/thanos/grpc-tls/tls.key",
        ]
    );
    let files = files(GRPC);
    assert_eq!(
        sources(&files.volumes[0]),
        [("own".into(), vec![("tls.crt".into(), "tls.crt".into()), ("tls.key".into(), "tls.key".into())])]
    );
    let mount = &files.mounts[0];
    assert_eq!(
        (mount.mount_path.as_str(), mount.read_only, &mount.sub_path),
        ("/etc/thanos/grpc-tls", Some(true), &None)
    );
}

#[test]
fn keys_of_other_names_and_the_authority_of_clients_become_files_of_our_names() {
    let fields = "server: {grpcTls: {certificate: {secretName: own, certificateKey: a, privateKeyKey: b}, clientCa: {secretName: clients, key: c}}}";
    let all = sources(&files(fields).volumes[0]);
    assert_eq!(all[0].1, [("a".into(), "tls.crt".into()), ("b".into(), "tls.key".into())]);
    assert_eq!(all[1], ("clients".into(), vec![("c".into(), "client-ca.crt".into())]));
    assert_eq!(
        args(fields, "v0.42.4").0[2],
        "--grpc-server-tls-client-ca=/etc/thanos/grpc-tls/client-ca.crt"
    );
}

#[test]
fn the_oldest_version_of_tls_is_a_flag_where_thanos_has_one() {
    let of = |min: &str, version| {
        let fields = format!("server: {{grpcTls: {{certificate: {{secretName: own}}, minVersion: {min}}}}}");
        let (args, refused) = args(&fields, version);
        (args.get(2).cloned(), refused)
    };
    let flag = |version: &str| Some(format!("--grpc-server-tls-min-version={version}"));
    assert_eq!(of("TLS12", "v0.37.0"), (flag("1.2"), vec![]));
    assert_eq!(of("TLS13", "v0.42.4"), (flag("1.3"), vec![]));
    // Before, it speaks 1.3 only; asking for less is left to the table of flags to refuse.
    assert_eq!(of("TLS13", "v0.36.1"), (None, vec![]));
    assert_eq!(of("TLS12", "v0.36.1"), (flag("1.2"), vec![]));
    let (arg, refused) = of("TLS12", "unknown");
    assert_eq!(arg, None);
    assert!(
        refused[0].starts_with("spec.server.grpcTls.minVersion: ") && refused[0].contains("set spec.version")
    );
}

#[test]
fn https_needs_one_file_more_which_an_annotation_holds() {
    assert_eq!(args(HTTP, "v0.42.4").0, ["--http.config=/etc/thanos/http-tls/tls.yaml"]);
    let files = files(HTTP);
    let (name, text) = &files.annotations[0];
    assert_eq!(name, "operator.thanos.io/web-config");
    assert_eq!(
        text,
        "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\nhttp_server_config:\n  http2: false\n"
    );
    let sources = files.volumes[0].projected.as_ref().and_then(|own| own.sources.as_ref()).expect("sources");
    let downward = sources[1].downward_api.as_ref().and_then(|own| own.items.as_ref()).expect("an item");
    assert_eq!(downward[0].path, "tls.yaml");
    let field = downward[0].field_ref.as_ref().map(|own| own.field_path.as_str());
    assert_eq!(field, Some("metadata.annotations['operator.thanos.io/web-config']"));
}

#[test]
fn https_with_certificates_of_clients_has_another_file_name() {
    let fields =
        "server: {httpTls: {certificate: {secretName: own}, clientCa: {secretName: own}, minVersion: TLS13}}";
    assert_eq!(args(fields, "v0.42.4").0, ["--http.config=/etc/thanos/http-tls/client-tls.yaml"]);
    let text = &files(fields).annotations[0].1;
    assert!(text.contains("client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client-ca.crt\n"));
    assert!(text.contains("  min_version: TLS13\n"), "{text}");
}

#[test]
fn a_frontend_keeps_http2() {
    let frontend: QueryFrontendSpec = serde_saphyr::from_str(&format!("{{{HTTP}}}")).expect("a frontend");
    let text = &Serving::of_frontend(&frontend).files().annotations[0].1;
    assert!(!text.contains("http2"), "{text}");
}

#[test]
fn a_web_configuration_of_the_user_is_mounted_with_its_whole_secret() {
    let fields = "server: {httpConfig: {secretName: web, scheme: HTTP}}";
    assert_eq!(args(fields, "v0.42.4").0, ["--http.config=/etc/thanos/http-config/web-config.yaml"]);
    let files = files(fields);
    let secret = files.volumes[0].secret.as_ref().expect("a Secret");
    assert_eq!((secret.secret_name.as_deref(), &secret.items), (Some("web"), &None));
    assert!(files.annotations.is_empty());
}

#[test]
fn the_scheme_is_that_of_the_final_arguments() {
    let scheme = |fields: &str, arg: Option<&str>| {
        let spec = spec(fields);
        let serving = Serving::of_queriers(&spec);
        let own = serving.args(ThanosVersion::new(0, 42, 4), &mut vec![]);
        let args: Vec<String> = own
            .iter()
            .map(ToString::to_string)
            .chain(arg.map(|path| format!("--http.config={path}")))
            .collect();
        serving.scheme(&args)
    };
    let config = "server: {httpConfig: {secretName: web, scheme: HTTPS}}";
    assert_eq!(scheme("", None), Some(Scheme::Http));
    assert_eq!(scheme(HTTP, None), Some(Scheme::Https));
    assert_eq!(scheme(config, None), Some(Scheme::Https));
    // A file of the user's own replaces it, and nothing says what is in that.
    for fields in ["", HTTP, config] {
        assert_eq!(scheme(fields, Some("/mine.yaml")), None, "{fields}");
    }
    assert_eq!(scheme(HTTP, Some("")), Some(Scheme::Http));
}
