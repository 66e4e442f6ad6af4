//! Every mode of one release side by side: what an endpoint of each type costs, to the pod, and that it is served.

use anyhow::{Result, ensure};
use crds::names::{conditions::UNSUPPORTED_BY_VERSION, reasons};
use sd_agent::{Feature, ThanosVersion};

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, Workload, World};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let of = |version: ThanosVersion| {
        let name = format!(
            "a regular, a strict and a group Service replace exactly the pods that their mode says, and every mode serves them (Thanos {version})"
        );
        Case::shared("matrix", name, move |world| every_mode(world, version)).limit(480)
    };
    [ThanosVersion::new(0, 35, 1), ThanosVersion::new(0, 37, 2), ThanosVersion::new(0, 42, 4)].map(of).into()
}

/// How endpoints reach the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    File,
    Flags,
    FileAll,
}

/// A ThanosQuery of one mode, and the pods that it had.
struct Column {
    mode: Mode,
    queriers: Queriers,
    rollouts: usize,
}

// === impl Mode ===

impl Mode {
    const ALL: [Self; 3] = [Self::File, Self::Flags, Self::FileAll];

    fn query(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether a new endpoint replaces the pods.
    fn replaces(self, is_regular: bool, version: ThanosVersion) -> bool {
        match self {
            Self::Flags => true,
            Self::File => !is_regular,
            Self::FileAll => !is_regular && !version.supports(Feature::EndpointSdConfigFile),
        }
    }
}

async fn every_mode(world: World, version: ThanosVersion) -> Result<()> {
    let without = ["r", "s", "g"].map(|name| Store::new(name).without_service());
    world.stores(std::iter::once(Store::new("a")).chain(without)).await?;
    let mut columns = Vec::new();
    for mode in Mode::ALL {
        let spec = format!("{{replicas: 1, version: {version}, serviceDiscovery: {{mode: {mode:?}}}}}");
        columns.push(Column { mode, queriers: world.thanos_query(&mode.query(), &spec).await?, rollouts: 0 });
    }
    let mut histories = Vec::new();
    for Column { mode, queriers, .. } in &columns {
        queriers.ready().await?;
        queriers.every_pod_lists(&["a"]).await?;
        histories.push(Workload::of_queriers(&world, &mode.query()).history().await?);
    }

    let mut stores = vec!["a"];
    let group = StoreService::of("g").headless().group();
    for (store, service) in
        [("r", StoreService::of("r")), ("s", StoreService::of("s").strict()), ("g", group)]
    {
        stores.push(store);
        let mut before = Vec::new();
        for column in &columns {
            before.push(column.queriers.snapshot().await?);
        }
        world.service(&service).await?;
        for (column, before) in columns.iter_mut().zip(&before) {
            if column.mode.replaces(store == "r", version) {
                column.queriers.rolled_out(before).await?;
                column.rollouts += 1;
            }
            column.queriers.every_pod_lists(&stores).await?;
        }
    }

    for (Column { mode, queriers, rollouts }, history) in columns.iter().zip(histories) {
        Workload::of_queriers(&world, &mode.query()).had_templates(1 + rollouts).await?;
        history.had_pods(1 + rollouts).await?;
        let told = queriers.events(reasons::ROLLOUT).await?;
        ensure!(told.len() == *rollouts, "{rollouts} rollouts in mode {mode:?}, and these Events: {told:?}");
    }
    let [.., file_all] = &columns[..] else { return Ok(()) };
    if version.supports(Feature::EndpointSdConfigFile) {
        file_all.queriers.says_no_more(UNSUPPORTED_BY_VERSION).await
    } else {
        file_all
            .queriers
            .says(UNSUPPORTED_BY_VERSION, &["spec.serviceDiscovery.mode", "v0.38"])
            .await
            .map(drop)
    }
}
