//! `quorix mirror`: keeps a full verified copy of one log in a folder.

use std::time::Duration;

use quorix_log::export::Ended;
use quorix_log::mirror::{Look, Mirror, Mirrored, Mirrors};
use serde_json::json;

use super::fetcher;
use super::log::export::{absolute, failure};
use super::log::which::parse_key;
use super::progress::{self, counted};
use crate::cli::operate::MirrorLog;
use crate::output::{self, Exit, Failure};

/// How often the log is asked for news.
const INTERVAL: Duration = Duration::from_secs(10);

pub(super) async fn mirror(arguments: MirrorLog) -> Result<Exit, Failure> {
    let key = parse_key("--log", &arguments.key)?;
    let origin = key.name().to_string();
    let dir = absolute(&arguments.dir)?;
    let fetcher = fetcher(&arguments.config.config)?;
    let urls = arguments.urls.clone();
    let log = Mirrored { key, urls };
    let mirror = Mirror::open(log, &dir, fetcher, None, Mirrors::default()).await;
    let mut mirror = mirror.map_err(failure)?;
    let mut is_told = false;
    loop {
        let bar = progress::bar("mirroring");
        // A long copy can be interrupted too; what is on the disk by then is gone on from.
        let looked = tokio::select! {
            looked = mirror.look(|copied| progress::stands(&bar, copied.size, copied.of)) => looked,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Unknown),
        };
        bar.finish_and_clear();
        match looked {
            Ok(look) => {
                told(&origin, look, arguments.json);
                if look == Look::Forked {
                    return Ok(Exit::No);
                }
                if let Some(ended) = mirror.ended().await.map_err(failure)?
                    && !is_told
                {
                    is_told = true;
                    told_end(&origin, ended, arguments.json);
                }
            }
            Err(error) if arguments.once => return Err(failure(error)),
            Err(error) => output::remark(format_args!("{error}; trying again")),
        }
        if arguments.once {
            return Ok(Exit::Yes);
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Yes),
        }
    }
}

/// That the log has ended, and what to do.
fn told_end(origin: &str, ended: &Ended, json: bool) {
    let Ended { index, successor } = ended;
    if json {
        let value = json!({
            "origin": origin, "state": "ended", "index": index, "successor": successor.to_string(),
        });
        return output::answer(value);
    }
    output::answer(format_args!(
        "The log {origin} has ended: entry {index}, its last, hands over to another key.\n  The copy stays as it is and may be \
         served on; nothing is taken in behind that entry.\n  Nobody follows the new key by themselves. Ask the log's operator \
         on another way, then keep the new log as well:\n  quorix mirror --log '{successor}' --url URL --dir FOLDER"
    ));
}

fn told(origin: &str, look: Look, json: bool) {
    if json {
        let value = match look {
            Look::Same => json!({"origin": origin, "state": "same"}),
            Look::Grown {
                from,
                to,
                missing_blobs,
            } => {
                json!({"origin": origin, "state": "grown", "from": from, "size": to, "missing_blobs": missing_blobs})
            }
            Look::Forked => json!({"origin": origin, "state": "forked"}),
        };
        return output::answer(value);
    }
    match look {
        Look::Same => {}
        Look::Grown {
            from,
            to,
            missing_blobs,
        } => {
            let (size, new) = (
                counted(to, "entry", "entries"),
                progress::number(to.saturating_sub(from)),
            );
            output::answer(format_args!(
                "The copy of {origin} has {size}, {new} of them new, all verified."
            ));
            if missing_blobs > 0 {
                let blobs = counted(missing_blobs, "blob", "blobs");
                output::answer(format_args!(
                    "  {blobs} that entries name cannot be had from the log"
                ));
            }
        }
        Look::Forked => output::answer(format_args!(
            "Stopped: the log {origin} signed two checkpoints that contradict each other.\n  The proof is in fork/first, \
             fork/second and fork/proof; the copy stays as it was."
        )),
    }
}
