//! The writer alone, without sources, on files that fail when the case says so.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use sd_agent::{
    Report, ThanosVersion,
    board::Board,
    keeper::{Keeper, Target},
    order::Witness,
    publish::{Disk, Files, Stamp},
    render::render,
    state::Kept,
    timing::Timing,
};
use tokio::sync::watch;

use crate::{
    fake_api::NAME,
    support::{document, payload_of},
};

pub const API: Witness = Witness::Api { confirmed: false };
pub const VERSION: ThanosVersion = ThanosVersion::new(0, 42, 4);
pub const LIVE: &str = "endpoints.yaml";

/// An operation, as [`Files`] has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Stamp,
    Open,
    Read,
    Create,
    Write,
    MakeReadable,
    Sync,
    Rename,
    Remove,
    SyncFolder,
}

/// What happens in place of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error number.
    Errno(i32),
    /// It writes some of the bytes, and then the disk is full.
    ShortWrite,
    /// It reads other bytes than there are.
    WrongBytes,
    /// It is half done for ever, and [`STOPPED`] is printed: the process is about to be killed.
    Stop,
}

/// The real files, until the fault.
#[derive(Debug, Default)]
pub struct ScriptedFiles {
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    seen: Vec<Op>,
    fault: Option<Scripted>,
}

#[derive(Clone, Copy, Debug)]
struct Scripted {
    fault: Fault,
    /// The operation that meets it, counted from 0.
    at: usize,
    /// All that follow meet it, too.
    lasts: bool,
}

/// A keeper and what it tells.
pub struct Writer {
    pub keeper: Keeper,
    pub board: Arc<Board>,
}

// === impl ScriptedFiles ===

impl ScriptedFiles {
    /// Forgets what was seen. From now on the operation `at` meets `fault`; those after it do when it `lasts`.
    pub fn fail(&self, at: usize, fault: Fault, lasts: bool) {
        *self.lock() = Script { seen: vec![], fault: Some(Scripted { fault, at, lasts }) };
    }

    /// Forgets what was seen, and nothing fails any more.
    pub fn work(&self) {
        *self.lock() = Script::default();
    }

    /// The operations since then.
    pub fn seen(&self) -> Vec<Op> {
        self.lock().seen.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no panic")
    }

    /// The fault that `op` meets, if any.
    fn meet(&self, op: Op) -> Option<Fault> {
        let mut script = self.lock();
        let index = script.seen.len();
        script.seen.push(op);
        let Scripted { fault, at, lasts } = script.fault?;
        (index == at || lasts && index > at).then_some(fault)
    }

    fn pass(&self, op: Op) -> io::Result<()> {
        match self.meet(op) {
            Some(Fault::Errno(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Fault::Stop) => stop(),
            Some(Fault::ShortWrite | Fault::WrongBytes) | None => Ok(()),
        }
    }
}

impl Files for ScriptedFiles {
    fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>> {
        self.pass(Op::Stamp)?;
        Disk.stamp(path)
    }

    fn open(&self, path: &Path) -> io::Result<(fs::File, Stamp)> {
        self.pass(Op::Open)?;
        Disk.open(path)
    }

    fn read(&self, file: &mut fs::File, buffer: &mut [u8]) -> io::Result<usize> {
        match self.meet(Op::Read) {
            Some(Fault::WrongBytes) => {
                let length = Disk.read(file, buffer)?;
                // At the end of a file: one byte more than there is.
                buffer[0] ^= 1;
                Ok(length.max(1))
            }
            Some(Fault::Errno(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Fault::Stop) => stop(),
            Some(Fault::ShortWrite) | None => Disk.read(file, buffer),
        }
    }

    fn create(&self, path: &Path) -> io::Result<fs::File> {
        self.pass(Op::Create)?;
        Disk.create(path)
    }

    fn write(&self, file: &mut fs::File, bytes: &[u8]) -> io::Result<usize> {
        let half = &bytes[..bytes.len() / 2];
        match self.meet(Op::Write) {
            Some(Fault::ShortWrite) => {
                // The next one writes nothing at all.
                let script = &mut *self.lock();
                let lasts = script.fault.is_some_and(|scripted| scripted.lasts);
                script.fault = Some(Scripted { fault: Fault::Errno(ENOSPC), at: script.seen.len(), lasts });
                Disk.write(file, half)
            }
            Some(Fault::Errno(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Fault::Stop) => {
                Disk.write(file, half)?;
                stop()
            }
            Some(Fault::WrongBytes) | None => Disk.write(file, bytes),
        }
    }

    fn make_readable(&self, file: &fs::File) -> io::Result<()> {
        self.pass(Op::MakeReadable)?;
        Disk.make_readable(file)
    }

    fn sync(&self, file: &fs::File) -> io::Result<()> {
        self.pass(Op::Sync)?;
        Disk.sync(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Op::Rename)?;
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass(Op::Remove)?;
        Disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.pass(Op::SyncFolder)?;
        Disk.sync_folder(folder)
    }
}

/// Waits for the kill.
pub fn stop_after_printing(word: &str) -> ! {
    println!("\n{word}");
    loop {
        std::thread::park();
    }
}

fn stop() -> ! {
    stop_after_printing(STOPPED)
}

/// The line that a process prints when it met [`Fault::Stop`].
pub const STOPPED: &str = "stopped";

pub const EPERM: i32 = 1;
pub const EIO: i32 = 5;
pub const EXDEV: i32 = 18;
pub const ENOSPC: i32 = 28;
pub const EROFS: i32 = 30;

// === impl Writer ===

impl Writer {
    /// In `folder`, with nothing taken up yet. What fails is due again at once.
    pub fn new(files: Arc<dyn Files>, folder: &Path) -> Self {
        let timing = Timing { write_retry: (Duration::ZERO, Duration::ZERO), ..Timing::default() };
        let report = Report { thanos_version: VERSION.to_string(), ..Report::default() };
        let board = Arc::new(Board::new(report));
        let (file, config_map) = (folder.join(LIVE), NAME.to_owned());
        let target = Target { file, config_map, version: VERSION, flags: vec![], tls_folders: vec![] };
        let (looked_up, _) = watch::channel(Arc::default());
        let keeper = Keeper::new(files, target, &timing, looked_up, Arc::clone(&board));
        Self { keeper, board }
    }

    /// Shows the document of a generation as the API does.
    pub fn offer(&mut self, generation: u64, size: usize) {
        self.keeper.offer(payload_of(generation, &document(generation, size)), API);
    }

    /// All that the main loop does from time to time.
    pub fn go_on(&mut self) {
        self.keeper.do_due();
        self.keeper.tick();
    }

    pub fn applied(&self) -> Option<u64> {
        self.board.report().applied.map(|applied| applied.generation)
    }

    pub fn counted(&self, series: &str) -> bool {
        self.board.metrics_text().lines().any(|line| line == format!("sd_agent_{series}"))
    }
}

/// In memory where there is some, as the volume of a pod is.
pub fn memory_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// The bytes of the file of a generation.
pub fn file_of(generation: u64, size: usize) -> Vec<u8> {
    render(&document(generation, size), VERSION, &[]).text.into_bytes()
}

/// What the folder holds, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<String> = entries.map(|entry| name(entry).expect("a name")).collect();
    names.sort();
    names
}

/// The generation that the state file in `folder` remembers, which must be whole.
pub fn remembered(folder: &Path) -> Option<u64> {
    let kept = Kept::load(&Disk, folder, NAME).expect("whole");
    kept.map(|kept| kept.payload.unpack().expect("valid").0.generation)
}
