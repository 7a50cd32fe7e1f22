//! Outputs by what else was said of them, and how many of those first spoken of on a day stand how now.

use std::sync::Arc;

use quorix_trust::ports::{Facet, TallyKey};
use quorix_wire::pb;
use quorix_wire::pb::find_outputs_request::By;

use super::{page, short, summary};
use crate::error::AskError;
use crate::machine::blocking;
use crate::query::parse;
use crate::service::Shared;

/// Days times systems in one answer.
const DAYS_MAX: usize = 10_000;
/// Pairs of voices in one answer: all pairs of 141.
const PAIRS_MAX: usize = 10_000;

impl Shared {
    /// Outputs by derivation, NAR hash or system, or all of them.
    pub(crate) async fn find_outputs(
        self: &Arc<Self>,
        request: pb::FindOutputsRequest,
    ) -> Result<pb::FindOutputsResponse, AskError> {
        let page = page(request.page_size, "page_size")?;
        let facet = match request.by {
            Some(By::Everything(true)) => None,
            by => Some(self.facet(by)?),
        };
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| AskError::Argument {
                argument: "page_token".to_owned(),
                reason: "it is not one that an answer before gave".to_owned(),
            })?),
        };
        let shared = self.clone();
        let found = blocking("finding outputs", move || {
            let hash_parts = match &facet {
                Some(facet) => shared.index.find(facet, after.as_ref(), page)?,
                None => shared.index.outputs(after.as_ref(), page)?,
            };
            let next = hash_parts.last().filter(|_| hash_parts.len() >= page);
            let next_page_token = next.map(ToString::to_string).unwrap_or_default();
            let mut outputs = Vec::new();
            for output in &hash_parts {
                outputs.extend(summary(&shared, output)?);
            }
            Ok(pb::FindOutputsResponse {
                outputs,
                next_page_token,
            })
        });
        Ok(found.await?)
    }

    fn facet(&self, by: Option<By>) -> Result<Facet, AskError> {
        let wrong = |argument: &str, reason: &str| AskError::Argument {
            argument: argument.to_owned(),
            reason: reason.to_owned(),
        };
        match by {
            Some(By::Derivation(text)) => {
                let drv = parse(&text, &self.config.store_dir, || "derivation".to_owned())?;
                Ok(Facet::Derivation(drv.hash_part))
            }
            Some(By::NarHash(bytes)) => {
                let hash = <[u8; 32]>::try_from(bytes.as_slice());
                let hash = hash.map_err(|_| wrong("nar_hash", "a SHA-256 has 32 bytes"))?;
                Ok(Facet::NarHash(hash))
            }
            Some(By::System(system)) => {
                short(&system, "system")?;
                if system.chars().any(char::is_control) {
                    return Err(wrong(
                        "system",
                        "it has a control character, which no system has",
                    ));
                }
                Ok(Facet::System(system))
            }
            Some(By::Everything(_)) | None => Err(wrong(
                "by",
                "say a derivation, a NAR hash or a system, or `everything`",
            )),
        }
    }

    /// How many outputs stand how, by day and system and by pairs of builders.
    pub(crate) async fn tallies(self: &Arc<Self>) -> Result<pb::GetTalliesResponse, AskError> {
        let index = self.index.clone();
        let tallies = blocking("reading the tallies", move || {
            index.tallies(DAYS_MAX, PAIRS_MAX)
        })
        .await?;
        let mut answer = pb::GetTalliesResponse::default();
        for (key, tally) in tallies {
            match key {
                TallyKey::Day { day, system } => answer.days.push(pb::DayTally {
                    day,
                    system,
                    agree: tally.agree,
                    disagree: tally.disagree,
                    one_builder: tally.one_builder,
                    none: tally.none,
                }),
                TallyKey::Pair { one, other } => answer.pairs.push(pb::PairTally {
                    one: self.name_of(&one),
                    other: self.name_of(&other),
                    agree: tally.agree,
                    disagree: tally.disagree,
                }),
            }
        }
        answer
            .pairs
            .sort_by(|a, b| (&a.one, &a.other).cmp(&(&b.one, &b.other)));
        Ok(answer)
    }
}
