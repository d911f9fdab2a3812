//! The daemon under test, started once in a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, mpsc};

use sealq_config::Config;

/// Account of the caller.
pub(crate) const ACCOUNT: &str = "000000000000";
/// What queue URLs start with.
pub(crate) const PUBLIC_URL: &str = "https://sqs.us-east-1.example.com";

/// Where it listens, and the key that signs.
pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    pub(crate) access_key_id: String,
    pub(crate) secret: String,
}

/// The daemon; started when first asked for. It ends with the process.
pub(crate) fn daemon() -> &'static Daemon {
    static DAEMON: OnceLock<Daemon> = OnceLock::new();
    DAEMON.get_or_init(start)
}

fn start() -> Daemon {
    let home = home();
    let settings = home.join("sealq.toml");
    let text = format!(
        "data_dir = \"{0}/data\"\nsecrets_dir = \"{0}/secrets\"\n[listen]\nhttps = \"\"\nhttp = \"127.0.0.1:0\"\n\
         metrics = \"\"\npublic_url = \"{PUBLIC_URL}\"\ntrusted_proxies = [\"127.0.0.1\"]\n[storage]\n\
         segment_bytes = \"4 MiB\"\nfree_space_min = \"1 MiB\"\n",
        home.display()
    );
    std::fs::write(&settings, text).unwrap();
    let loaded = Config::load(Some(&settings), std::iter::empty(), Default::default()).unwrap();
    let (ready, announced) = mpsc::channel();
    std::thread::spawn(move || {
        let announce = Box::new(move |announcement| ready.send(announcement).unwrap());
        sealq_broker::daemon::run(loaded, announce).expect("the daemon runs until its process ends");
    });
    let address = announced.recv().expect("the daemon starts").http.unwrap();
    let (access_key_id, secret) = credentials(&home.join("secrets/credentials"));
    Daemon { address, access_key_id, secret }
}

/// A directory of this process. The daemon uses it to its end, so that it is the next run that removes it.
fn home() -> PathBuf {
    let homes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract");
    for left in std::fs::read_dir(&homes).into_iter().flatten().flatten() {
        let process = Path::new("/proc").join(left.file_name());
        if !process.exists() {
            // Another process may be removing it too.
            let _ = std::fs::remove_dir_all(left.path());
        }
    }
    let home = homes.join(std::process::id().to_string());
    std::fs::create_dir_all(&home).unwrap();
    home
}

fn credentials(file: &Path) -> (String, String) {
    let text = std::fs::read_to_string(file).unwrap();
    let value = |name: &str| {
        let found = text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == name);
        found.unwrap().1.trim().to_owned()
    };
    (value("aws_access_key_id"), value("aws_secret_access_key"))
}
