//! Real Thanos and real certificates: what the agent renders of TLS is connected to as it says, what is not reached is
//! told, and no entry disturbs another.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use sd_agent::{
    ClientTls, Document, Endpoint, EndpointType, InFile, Report, ThanosVersion,
    board::Board,
    check::judge,
    in_file::{TlsSettings, TlsVersion},
    render::render,
};

use super::Case;
use crate::{
    cluster::components::THANOS_NEW,
    fixtures::{
        World,
        certificates::{Authority, Pair},
        eventually,
        querier_process::{LIMIT, QuerierProcess},
    },
};

const VERSION: ThanosVersion = ThanosVersion::new(0, 42, 4);

/// What the certificates of all stores here are for. Their address is another one.
const NAME: &str = "store.example";

/// The cases of this area.
pub fn cases() -> Vec<Case> {
    let name = "Thanos connects over TLS as each entry of the file says, and a wrong authority costs that entry only";
    vec![Case::shared("tls", name, in_cluster).limit(300).only_where_the_node_is_ours()]
}

async fn in_cluster(world: World) -> Result<()> {
    connects(&world.cluster().binaries().folder(&THANOS_NEW).join("thanos")).await
}

/// A folder for certificates that goes when it is dropped.
struct Folder(PathBuf);

/// Asks `program`, a Thanos v0.42.
///
/// # Errors
/// When it does not connect as the entries say.
pub async fn connects(program: &Path) -> Result<()> {
    let folder = Folder::new()?;
    let (one, two) = (Authority::new("one")?, Authority::new("two")?);
    folder.write("one.crt", one.pem())?;
    folder.write("two.crt", two.pem())?;
    folder.pair("one", &one.issue(&[NAME])?)?;
    folder.pair("two", &two.issue(&[NAME])?)?;
    let none = "endpoints: []\n";
    let store = async |tls: Option<&str>| match tls {
        None => QuerierProcess::start(program, VERSION, none).await,
        Some(name) => QuerierProcess::start_with(program, VERSION, none, &folder.serving(name)).await,
    };
    let (plain, of_one, of_two) = (store(None).await?, store(Some("one")).await?, store(Some("two")).await?);
    let querier = QuerierProcess::start(program, VERSION, none).await?;

    let at = |host: &str, store: &QuerierProcess| format!("{host}:{}", store.grpc());
    let plaintext = regular(&at("127.0.0.1", &plain), ClientTls::Plaintext)?;
    let inherited = regular(&at("127.0.0.1", &of_one), folder.tls("one", true))?;
    let own = regular(&at("127.0.0.1", &of_two), folder.tls("two", false))?;
    let strict = typed(EndpointType::Strict, &at("localhost", &of_two), folder.tls("two", false), None)?;
    let config =
        r#"{"loadBalancingConfig":[{"round_robin":{}}],"methodConfig":[{"name":[{}],"waitForReady":true}]}"#;
    let group =
        typed(EndpointType::Group, &at("dns+localhost", &of_one), folder.tls("one", true), Some(config))?;
    let all = [&plaintext, &inherited, &own, &strict, &group];
    let mut listed: BTreeSet<String> = all.iter().map(|own| own.written().to_string()).collect();
    listed.remove(&group.written().to_string());
    listed.insert(format!("thanos:///{}", group.written()));
    takes(&querier, &all, &listed).await.context("every kind")?;

    // Its authority has not signed the certificate: that entry and no other is gone.
    let wrong = regular(&at("127.0.0.1", &of_two), folder.tls("one", false))?;
    let others = BTreeSet::from([plaintext.written().to_string(), inherited.written().to_string()]);
    takes(&querier, &[&plaintext, &inherited], &others).await.context("two")?;
    let wrong_group =
        typed(EndpointType::Group, &at("dns+localhost", &of_two), folder.tls("one", false), None)?;
    let before = querier.log().len();
    let board = Arc::new(Board::new(Report::default()));
    let watch = tokio::spawn(querier.watched(Arc::clone(&board))?.run());
    takes(&querier, &[&plaintext, &inherited, &wrong, &wrong_group], &others)
        .await
        .context("a wrong authority")?;
    querier.says("x509: certificate signed by unknown authority", before).await?;
    querier.lists(&others).await.context("a wrong authority, tried")?;
    told(&board, &[&wrong, &wrong_group]).await?;
    // A Secret that is not there.
    let missing = regular(&at("127.0.0.1", &of_two), folder.tls("nobody", false))?;
    takes(&querier, &[&plaintext, &inherited, &missing], &others).await.context("no file")?;
    querier.says("skipping endpoint due to TLS configuration error", 0).await?;
    querier.lists(&others).await.context("no file, tried")?;

    // Another authority and another certificate, at the same paths: the next connection uses them.
    let three = Authority::new("three")?;
    folder.write("two.crt", three.pem())?;
    folder.pair("two", &three.issue(&[NAME])?)?;
    let all = BTreeSet::from([own.written().to_string(), plaintext.written().to_string()]);
    takes(&querier, &[&plaintext, &own], &all).await.context("after a rotation")?;
    told(&board, &[]).await?;
    watch.abort();
    Ok(())
}

/// Waits until the agent tells exactly these as not reached.
async fn told(board: &Board, unreachable: &[&Endpoint]) -> Result<()> {
    let expected: Vec<String> = unreachable.iter().map(|endpoint| endpoint.written().to_string()).collect();
    eventually(LIMIT, format!("{expected:?} are told as not reached"), || async {
        let told = board.report().thanos.and_then(|thanos| thanos.unreachable);
        ensure!(told.as_ref() == Some(&expected), "{told:?}");
        Ok(())
    })
    .await
}

async fn takes(querier: &QuerierProcess, endpoints: &[&Endpoint], listed: &BTreeSet<String>) -> Result<()> {
    let document = Document::new(endpoints.iter().map(|&endpoint| endpoint.clone()).collect())?;
    let rendered = render(&document, VERSION, &[]);
    let answer = judge(rendered.text.as_bytes(), Some(VERSION));
    ensure!(answer.valid, "check refuses it: {answer:?}");
    querier.write(rendered.text.as_bytes())?;
    querier.lists(listed).await.context(rendered.text)
}

fn regular(address: &str, tls: ClientTls) -> Result<Endpoint> {
    Ok(Endpoint::regular(address.parse()?).saying(InFile { tls: Some(tls), ..InFile::default() }))
}

fn typed(
    endpoint_type: EndpointType,
    address: &str,
    tls: ClientTls,
    service_config: Option<&str>,
) -> Result<Endpoint> {
    let service_config = service_config.map(ToOwned::to_owned);
    let in_file = InFile { typed: true, tls: Some(tls), service_config, ..InFile::default() };
    Ok(Endpoint::flagged(endpoint_type, address.parse()?, address.parse()?).saying(in_file))
}

// === impl Folder ===

impl Folder {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("thanos-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        Ok(Self(folder))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.0.join(name), text).with_context(|| format!("failed to write {name}"))
    }

    fn pair(&self, name: &str, pair: &Pair) -> Result<()> {
        self.write(&format!("{name}-server.key"), &pair.key)?;
        self.write(&format!("{name}-server.crt"), &pair.certificate)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn serving(&self, name: &str) -> Vec<String> {
        [("cert", "crt"), ("key", "key")]
            .map(|(flag, end)| {
                format!("--grpc-server-tls-{flag}={}", self.path(&format!("{name}-server.{end}")))
            })
            .to_vec()
    }

    fn tls(&self, authority: &str, inherited: bool) -> ClientTls {
        ClientTls::Tls(TlsSettings {
            ca_file: Some(self.path(&format!("{authority}.crt"))),
            certificate: None,
            server_name: Some(NAME.to_owned()),
            min_version: TlsVersion::Tls12,
            insecure_skip_verify: false,
            inherited,
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
