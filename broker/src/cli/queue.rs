//! `sealq queue`: changes a queue of the broker that runs here, without credentials.

use clap::{Args, Subcommand};
use sealq_config::Config;

use super::{Exit, Sources, say, say_error, settings, wait_for};
use crate::control::{self, Order};

/// What to do with a queue.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Turns SSE-KMS on. Messages that are in the queue already stay as they are.
    #[command(
        after_help = "Example:\n  sealq queue encrypt --queue orders\n  sealq queue encrypt --queue orders --key alias/orders --account 111111111111"
    )]
    Encrypt(Encrypt),
}

/// Which queue, with which key.
#[derive(Args, Debug)]
pub struct Encrypt {
    /// Name of the queue.
    #[arg(long, value_name = "NAME")]
    queue: String,
    /// Id, ARN or alias of the key. The default key is made if it is not there yet.
    #[arg(long, value_name = "KEY", default_value = "alias/aws/sqs")]
    key: String,
    /// Account of the queue (default: identity.account_id).
    #[arg(long, value_name = "ID")]
    account: Option<String>,
}

/// Runs it.
pub fn run(sources: &Sources, action: &Action) -> Exit {
    let Action::Encrypt(arguments) = action;
    match settings(sources) {
        Ok(loaded) => encrypt(&loaded.config, arguments),
        Err(exit) => exit,
    }
}

fn encrypt(config: &Config, arguments: &Encrypt) -> Exit {
    let order = Order::EncryptQueue {
        account: arguments.account.clone(),
        queue: arguments.queue.clone(),
        key: arguments.key.clone(),
    };
    wait_for(async {
        match control::ask(&config.data_dir, &order).await {
            Ok(Some(Ok(done))) => {
                say(&done);
                Exit::Done
            }
            Ok(Some(Err(refused))) => {
                say(&format!("sealq: {refused}"));
                Exit::Failed
            }
            Ok(None) => {
                let data_dir = config.data_dir.display();
                say(&format!(
                    "sealq: no broker runs on {data_dir}: start it, or name its directory with --data-dir. \
                     Of a broker elsewhere: aws sqs set-queue-attributes --attributes KmsMasterKeyId={}",
                    arguments.key
                ));
                Exit::Failed
            }
            Err(error) => {
                say_error(&error);
                Exit::Failed
            }
        }
    })
}
