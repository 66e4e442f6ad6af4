//! The agent as a whole: lock, restore, then sources, main loop and pages side by side until told to stop.
//!
//! Everything runs in one task on one thread. So nothing can die unseen, and a stop drops it all at once.

use std::sync::Arc;

use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use crate::{
    api::{ApiSource, Connect},
    args::{RunArgs, SourceChoice},
    board::Board,
    dns::{DnsWatch, Resolver},
    exchange::{Exchange, Health, Slots},
    http,
    keeper::{Keeper, Target},
    log::{Grumble, chain},
    metrics::label,
    mount::{
        MountSource,
        watch::{Inotify, WatchFolder},
    },
    order::Witness,
    origin::Origin,
    payload::Payload,
    publish::{Disk, FolderLock, folder_of},
    report::Report,
    thanos::StoresWatch,
    timing::Timing,
};

/// What the agent is given besides its arguments; tests bring their own.
pub struct Parts {
    /// Bound already; else `--listen` is.
    pub listener: Option<TcpListener>,
    /// How to reach the API server.
    pub connect: Connect,
    /// The spans.
    pub timing: Timing,
    /// How the mount is watched besides being polled.
    pub watching: Arc<dyn WatchFolder>,
    /// Wakes the agent to read both sources again.
    pub reread: Arc<Notify>,
    /// Where names are looked up.
    pub resolver: Resolver,
}

struct Agent {
    args: RunArgs,
    timing: Timing,
    exchange: Arc<Exchange>,
    board: Arc<Board>,
    reread: Arc<Notify>,
    keeper: Keeper,
    /// Until this moment the start waits for both sources; none once it is over.
    start_ends: Option<Instant>,
    /// The generation for which the mount was last asked again.
    asked_mount: Option<u64>,
}

/// What the sources left since the last look.
struct Left {
    mount: Option<Payload>,
    confirmed: Option<Payload>,
    api: Option<Payload>,
    api_health: Health,
    mount_health: Health,
}

/// Runs until `shutdown`. Leaves all files as they are.
pub async fn run(args: RunArgs, mut parts: Parts, shutdown: impl Future<Output = ()>) {
    let board = new_board(&args);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config_map = args.config_map,
        output = %args.output.display(),
        thanos = %args.thanos_version,
        flagged = args.flagged.len(),
        source = ?args.source,
        "sd-agent starts"
    );
    if args.thanos_version.is_too_old() {
        tracing::warn!(thanos = %args.thanos_version, "this Thanos is older than any that was tested");
    }
    if !args.ignored.is_empty() {
        let arguments = args.ignored.join(" ");
        tracing::warn!(
            arguments,
            "does without arguments that it does not know: it is older than the operator"
        );
    }
    let listener = parts.listener.take();
    let pages = http::serve(args.listen, listener, Arc::clone(&board));
    let work = work(args, parts, board);
    tokio::select! {
        () = shutdown => tracing::info!("told to stop, the file stays"),
        () = pages => {}
        () = work => {}
    }
}

/// What an agent with `args` shows before it has done anything.
pub fn new_board(args: &RunArgs) -> Arc<Board> {
    Arc::new(Board::new(Report {
        thanos_version: args.thanos_version.to_string(),
        flagged: args.flagged.iter().map(ToString::to_string).collect(),
        ignored_arguments: args.ignored.clone(),
        ..Report::default()
    }))
}

/// All but the pages: keeps the file right and tells `board` about it, until dropped.
pub async fn work(args: RunArgs, parts: Parts, board: Arc<Board>) {
    let Parts { listener: _, connect, timing, watching, reread, resolver } = parts;
    let _lock = take_lock(&args, &timing, &board).await;
    let (version, flags) = (args.thanos_version, args.flagged.clone());
    let (looked_up, names) = watch::channel(Arc::default());
    let (file, config_map) = (args.output.clone(), args.config_map.clone());
    let target = Target { file, config_map, version, flags, tls_folders: args.tls_folder.clone() };
    let mut keeper = Keeper::new(Arc::new(Disk), target, &timing, looked_up, Arc::clone(&board));
    keeper.restore();
    let dns = args.thanos_metrics_url.clone().map(|url| {
        let board = Arc::clone(&board);
        DnsWatch { url, names, resolver, timing, board }.run()
    });

    let stores = args.thanos_stores_url.clone().map(|url| {
        let (file, tick, board) = (args.output.clone(), timing.stores_tick, Arc::clone(&board));
        StoresWatch { url, file, tick, board }.run()
    });

    let with_api = args.source != SourceChoice::Mount;
    let with_mount = args.source != SourceChoice::Api;
    let exchange = Arc::new(Exchange::new(with_api, with_mount));
    let api = ApiSource {
        connect,
        namespace: args.namespace.clone(),
        name: args.config_map.clone(),
        timing,
        exchange: Arc::clone(&exchange),
        board: Arc::clone(&board),
    };
    let (folder, tick) = (args.mount.clone(), timing.tick);
    let mount = MountSource::new(folder, tick, watching, Arc::clone(&exchange), Arc::clone(&board));
    let start_ends = Some(Instant::now() + timing.boot_budget);
    let mut agent = Agent { args, timing, exchange, board, reread, keeper, start_ends, asked_mount: None };
    // A branch that is off never runs; one that is on never ends.
    tokio::select! {
        () = api.run(), if with_api => {}
        () = mount.run(), if with_mount => {}
        () = or_never(dns) => {}
        () = or_never(stores) => {}
        () = agent.run() => {}
    }
}

/// Two writers in one folder would fight; the second waits and says so.
async fn take_lock(args: &RunArgs, timing: &Timing, board: &Board) -> FolderLock {
    let mut grumble = Grumble::default();
    loop {
        board.progress();
        match FolderLock::take(folder_of(&args.output)) {
            Ok(lock) => {
                board.can_write();
                board.trouble(None);
                return lock;
            }
            Err(error) => {
                let why = chain(&error);
                if grumble.is_news(&why) {
                    tracing::warn!(why, "cannot begin, trying again");
                }
                board.cannot_write("lock", &why);
                board.trouble(Some(why));
            }
        }
        sleep(timing.lock_retry).await;
    }
}

// === impl Agent ===

impl Agent {
    async fn run(&mut self) {
        let mut tick = interval(self.timing.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (exchange, reread) = (Arc::clone(&self.exchange), Arc::clone(&self.reread));
        loop {
            self.board.progress();
            let due_at = self.keeper.due_at();
            tokio::select! {
                () = exchange.news() => {}
                _ = tick.tick() => self.keeper.tick(),
                () = at(due_at) => self.keeper.do_due(),
                () = at(self.start_ends) => {}
                () = reread.notified() => {
                    tracing::info!("reading both sources again");
                    exchange.confirm.notify_one();
                    exchange.reread_mount.notify_one();
                }
            }
            self.settle();
        }
    }

    /// Judges what the sources left.
    fn settle(&mut self) {
        let starting = self.start_ends.is_some();
        let waits = self.start_ends.is_some_and(|end| Instant::now() < end);
        let left = self.exchange.look(|slots| (!waits || slots.both_answered()).then(|| Left::take(slots)));
        let Some(left) = left else { return };
        self.start_ends = None;
        self.show_health(&left);

        let api_gone = match &left.api_health {
            Health::Off => true,
            Health::Down { since, .. } => since.elapsed() >= self.timing.api_grace,
            Health::Starting | Health::Up | Health::Absent { .. } => false,
        };
        // The mount first: when the API then shows less, the quorum is asked which of the two is right.
        let may_lead = starting || api_gone || self.keeper.current().is_none();
        let offers = [
            (left.mount, Witness::Mount { may_lead }),
            (left.confirmed, Witness::Api { confirmed: true }),
            (left.api, Witness::Api { confirmed: false }),
        ];
        for (payload, witness) in offers {
            if let Some(payload) = payload
                && self.keeper.offer(payload, witness)
            {
                tracing::debug!(?witness, "the sources disagree, asking the quorum");
                self.exchange.confirm.notify_one();
            }
        }
        if api_gone {
            self.follow_the_mount();
        }
    }

    /// Once the API has been gone for long, what the mount showed before counts, too.
    fn follow_the_mount(&mut self) {
        let shown = self.board.report().mount.generation;
        let current = self.keeper.current().map(|mark| mark.generation);
        if shown > current && shown != self.asked_mount {
            self.asked_mount = shown;
            self.exchange.reread_mount.notify_one();
        }
    }

    fn show_health(&self, left: &Left) {
        let up = &self.board.metrics.source_up;
        for (origin, health) in [(Origin::Api, &left.api_health), (Origin::Mount, &left.mount_health)] {
            self.board.show_present(origin.as_str(), health);
            if *health != Health::Off {
                up.get_or_create(&label("source", origin.as_str())).set(i64::from(*health == Health::Up));
            }
        }
        let error = |health: &Health| health.error().map(ToOwned::to_owned);
        self.board.update(|report| {
            report.api.up = left.api_health == Health::Up;
            report.api.error = error(&left.api_health);
            report.mount.up = left.mount_health == Health::Up;
            report.mount.error = error(&left.mount_health);
        });
        let whys = [("API", &left.api_health), ("mount", &left.mount_health)];
        let whys: Vec<String> = whys
            .into_iter()
            .filter_map(|(name, health)| Some(format!("{name}: {}", health.error()?)))
            .collect();
        let name = &self.args.config_map;
        let why = format!("no document of ConfigMap {name} yet: {}", whys.join("; "));
        self.board.sources((!whys.is_empty()).then_some(why));
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn or_never(task: Option<impl Future<Output = ()>>) {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

// === impl Left ===

impl Left {
    fn take(slots: &mut Slots) -> Self {
        Self {
            mount: slots.mount.take(),
            confirmed: slots.confirmed.take(),
            api: slots.api.take(),
            api_health: slots.api_health.clone(),
            mount_health: slots.mount_health.clone(),
        }
    }
}

// === impl Parts ===

impl Default for Parts {
    fn default() -> Self {
        Self {
            listener: None,
            connect: Connect::default(),
            timing: Timing::default(),
            watching: Arc::new(Inotify),
            reread: Arc::new(Notify::new()),
            resolver: Resolver::default(),
        }
    }
}
