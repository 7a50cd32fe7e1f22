//! `quorix aggregator find`: outputs by what else was said of them.

use quorix_nix::hash::NarHash;
use quorix_wire::client::ClientError;
use quorix_wire::pb;
use quorix_wire::pb::find_outputs_request::By;
use quorix_wire::pb::follow_service_client::FollowServiceClient;
use serde_json::json;

use crate::cli::aggregator::Find;
use crate::commands::{aggregator_address, channel_to};
use crate::output::{self, Exit, Failure};

/// Outputs in one answer of the aggregator.
const PAGE: usize = 500;

/// Lists outputs page by page.
pub(super) async fn run(arguments: Find) -> Result<Exit, Failure> {
    let by = by(&arguments)?;
    let file = &arguments.config.config;
    let address = aggregator_address(arguments.aggregator.clone(), file)?;
    let mut client = FollowServiceClient::new(channel_to(&address, file)?);
    let (mut listed, mut page_token) = (0_usize, String::new());
    let most = arguments.limit.unwrap_or(usize::MAX);
    while listed < most {
        let page_size = PAGE.min(most.saturating_sub(listed));
        let request = pb::FindOutputsRequest {
            by: Some(by.clone()),
            page_size: u32::try_from(page_size).unwrap_or(u32::MAX),
            page_token,
        };
        let page = client.find_outputs(request).await.map_err(|status| {
            let error = ClientError::from(status);
            Failure::unknown(format!("{error} (asked at {address})"))
        })?;
        let page = page.into_inner();
        for found in page.outputs.iter().take(page_size) {
            tell(found, arguments.json);
        }
        listed = listed.saturating_add(page.outputs.len());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(if listed == 0 { Exit::No } else { Exit::Yes })
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
