//! `quorix aggregator find`: outputs by what else was said of them.

use std::num::NonZero;

use quorix_nix::hash::NarHash;
use quorix_wire::client::ClientError;
use quorix_wire::pb;
use quorix_wire::pb::find_outputs_request::By;
use quorix_wire::pb::follow_service_client::FollowServiceClient;
use serde_json::json;

use tonic::transport::Channel;

use crate::cli::aggregator::Find;
use crate::commands::{aggregator_address, channel_to};
use crate::output::{self, Exit, Failure};

/// The most outputs in one answer of an aggregator.
const PAGE: usize = 500;

/// Lists outputs page by page.
pub(super) async fn run(arguments: Find) -> Result<Exit, Failure> {
    let by = by(&arguments)?;
    let file = &arguments.config.config;
    let address = aggregator_address(arguments.aggregator.clone(), file)?;
    let mut pages = Pages::new(channel_to(&address, file)?, by);
    let mut listed = 0_usize;
    let most = arguments.limit.map_or(usize::MAX, NonZero::get);
    while listed < most {
        let page = pages.next(most.saturating_sub(listed)).await;
        let page =
            page.map_err(|error| Failure::unknown(format!("{error} (asked at {address})")))?;
        let Some(page) = page else { break };
        for found in &page {
            tell(found, arguments.json);
        }
        listed = listed.saturating_add(page.len());
    }
    Ok(if listed == 0 { Exit::No } else { Exit::Yes })
}

/// What an aggregator finds, page by page.
pub(in crate::commands) struct Pages {
    client: FollowServiceClient<Channel>,
    by: By,
    /// From the page before; `None` after the last one.
    token: Option<String>,
}

impl Pages {
    pub(in crate::commands) fn new(channel: Channel, by: By) -> Self {
        Self {
            client: FollowServiceClient::new(channel),
            by,
            token: Some(String::new()),
        }
    }

    /// At most `most` further outputs; `None` where there are no more.
    ///
    /// # Errors
    /// The aggregator does not answer, or with pages that do not go on.
    pub(in crate::commands) async fn next(
        &mut self,
        most: usize,
    ) -> Result<Option<Vec<pb::OutputSummary>>, ClientError> {
        let Some(token) = self.token.take() else {
            return Ok(None);
        };
        let most = PAGE.min(most);
        let request = pb::FindOutputsRequest {
            by: Some(self.by.clone()),
            page_size: u32::try_from(most).unwrap_or(u32::MAX),
            page_token: token.clone(),
        };
        let page = self.client.find_outputs(request).await?.into_inner();
        let next = Some(page.next_page_token).filter(|next| !next.is_empty());
        if page.outputs.len() > most || next.as_ref() == Some(&token) {
            let reason = "the aggregator's pages are longer than asked for, or do not go on";
            return Err(ClientError::InvalidAnswer(reason.to_owned()));
        }
        self.token = next;
        Ok(Some(page.outputs))
    }
}

fn by(arguments: &Find) -> Result<By, Failure> {
    if let Some(drv) = &arguments.derivation {
        return Ok(By::Derivation(drv.clone()));
    }
    if let Some(text) = &arguments.nar_hash {
        let hash: NarHash = text
            .parse()
            .map_err(|error| Failure::wrong(format!("--nar-hash: {error}")))?;
        return Ok(By::NarHash(hash.as_bytes().to_vec()));
    }
    Ok(match &arguments.system {
        Some(system) => By::System(system.clone()),
        None => By::Everything(true),
    })
}

fn tell(found: &pb::OutputSummary, as_json: bool) {
    let standing = match found.standing() {
        pb::Standing::Agree => "agree",
        pb::Standing::Disagree => "disagree",
        pb::Standing::OneBuilder => "one builder",
        pb::Standing::NoData | pb::Standing::Unspecified => "withdrawn",
    };
    if as_json {
        let values: Vec<_> = found.values.iter().map(|value| &value.builders).collect();
        let line = json!({"path": found.store_path, "standing": standing, "values": values});
        output::answer(line);
    } else {
        output::answer(format_args!(
            "{standing:12}{}",
            found.store_path.escape_debug()
        ));
    }
}
