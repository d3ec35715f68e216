//! Map Runs. Distributed Maps do not run yet, so no Map Run exists.

use runtime::Error;

use super::{Answer, page};
use crate::Api;
use crate::error::ApiError;
use crate::fields::Fields;

pub(super) async fn run(api: &Api, action: &str, fields: &Fields<'_>) -> Answer {
    if action == "ListMapRuns" {
        api.runtime.describe_execution(fields.text("executionArn")).await?;
        return Ok(page("mapRuns", Vec::new(), None));
    }
    let arn = fields.shared("mapRunArn").unwrap_or_default();
    Err(ApiError::from(Error::reference_not_found(&arn)))
}
