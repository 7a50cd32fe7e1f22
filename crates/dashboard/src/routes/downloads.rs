//! A log's signed checkpoints, byte for byte, as files: evidence that anyone can check with the log's key alone.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use quorix_wire::pb;

use super::problem;
use crate::service::Dashboard;
use crate::view::problem::Problem;

/// The most hashes of a consistency proof: two per level of the largest tree, generously.
const PROOF_HASHES_MAX: usize = 256;

pub(super) async fn part(
    State(dashboard): State<Dashboard>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let Ok(Path((name, part))) = path else {
        return problem(Problem::no_page());
    };
    let log = match dashboard.log_status(&name).await {
        Ok(log) => log,
        Err(error) => return problem(*error),
    };
    match contents(&log, &part) {
        Some(contents) => file(&name, &part, contents),
        None => problem(Problem::no_page()),
    }
}

fn contents(log: &pb::LogStatus, part: &str) -> Option<Vec<u8>> {
    let proof = log.equivocation.as_ref();
    let contents = match part {
        "checkpoint" => log.checkpoint.clone(),
        "first-checkpoint" => proof?.first_checkpoint.clone(),
        "second-checkpoint" => proof?.second_checkpoint.clone(),
        "consistency-proof" => {
            let hashes = proof?.consistency_proof.iter().take(PROOF_HASHES_MAX);
            let lines = hashes.map(|hash| {
                hash.iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
                    + "\n"
            });
            lines.collect::<String>().into_bytes()
        }
        _ => return None,
    };
    Some(contents).filter(|contents| !contents.is_empty())
}

fn file(log: &str, part: &str, contents: Vec<u8>) -> Response {
    // A name for the reader's disk: letters that mean nothing to any file system or header.
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() {
            character
        } else {
            '-'
        }
    };
    let log: String = log.chars().take(60).map(plain).collect();
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{log}-{part}.txt\""),
        ),
    ];
    (headers, contents).into_response()
}
