//! The read API of all mirrors of one process: each log under the SHA-256 of its origin, as C2SP's mirrors do it.
//!
//! Read-only, and only what the copy's checkpoint covers, which is on the disk before it is shown.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use quorix_tlog::tile::TilePath;

use super::{Mirrors, Standing};
use crate::routes::{BYTES, Failure, IMMUTABLE, TEXT, answer, read_only};

/// The routes of the mirrors in `dir`, a folder each: `/` lists them, `/<sha256 of the origin>/…` is each log.
pub fn router(mirrors: &Mirrors, dir: &Path) -> Router {
    let shown = Shown {
        mirrors: mirrors.clone(),
        dir: dir.into(),
    };
    let router = Router::new()
        .route("/", get(about))
        .route("/{*path}", get(file));
    read_only(router.with_state(shown))
}

#[derive(Clone)]
struct Shown {
    mirrors: Mirrors,
    dir: Arc<Path>,
}

async fn about(State(shown): State<Shown>) -> Response {
    let mut text = "These are mirrors of transparency logs: full verified copies. Each is a log of C2SP tlog-tiles below \
                    its folder.\n\n"
        .to_owned();
    for (folder, status) in shown.mirrors.statuses() {
        let standing = match status.standing {
            Standing::Live => "live".to_owned(),
            Standing::Ended { successor } => {
                format!("ended: its last entry hands over to the key {successor}, which nobody follows by themselves")
            }
            Standing::Stale { reason } => format!("stale: {reason}"),
            Standing::Forked => {
                "stopped: the log signed two checkpoints that contradict each other (fork/first, fork/second, fork/proof)".to_owned()
            }
        };
        text.push_str(&format!(
            "/{folder}/  {}, {} entries, {standing}\n",
            status.origin, status.size
        ));
    }
    answer(TEXT, "no-cache", text.into_bytes())
}

async fn file(State(shown): State<Shown>, uri: Uri) -> Result<Response, Failure> {
    let path = uri.path().trim_start_matches('/');
    let nothing = Failure::NotFound("there is no such log or file here; / lists the mirrored logs");
    let Some((folder, name)) = path.split_once('/') else {
        return Err(nothing);
    };
    // A name of a mirrored log is a folder below ours, and nothing else is.
    let statuses = shown.mirrors.statuses();
    let Some(status) = statuses.get(folder) else {
        return Err(nothing);
    };
    let dir = shown.dir.join(folder);
    match name {
        "checkpoint" => Ok(answer(TEXT, "no-cache", read(dir.join(name)).await?)),
        "fork/first" | "fork/second" | "fork/proof" => {
            Ok(answer(TEXT, "no-cache", read(dir.join(name)).await?))
        }
        _ if is_blob(name) => Ok(answer(BYTES, IMMUTABLE, read(dir.join(name)).await?)),
        _ => {
            let tile =
                TilePath::from_str(name).map_err(|error| Failure::BadRequest(error.to_string()))?;
            if tile.width > tile.id.width_at(status.size) {
                return Err(Failure::NotFound(
                    "the checkpoint does not cover this tile at this width",
                ));
            }
            Ok(answer(
                BYTES,
                IMMUTABLE,
                read(dir.join(tile.to_string())).await?,
            ))
        }
    }
}

/// `blob/` and 64 lowercase hexadecimal digits.
fn is_blob(name: &str) -> bool {
    name.strip_prefix("blob/").is_some_and(|id| {
        id.len() == 64
            && id
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

async fn read(path: PathBuf) -> Result<Vec<u8>, Failure> {
    tokio::fs::read(&path).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::NotFound("the mirror does not have this"),
        _ => {
            tracing::error!(%error, path = %path.display(), "a file of a mirror could not be read");
            Failure::Store
        }
    })
}
