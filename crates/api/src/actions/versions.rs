//! Published versions.

use super::{Answer, Shown, nothing, page};
use crate::Api;
use crate::fields::Fields;

pub(super) async fn publish(api: &Api, fields: &Fields<'_>) -> Answer {
    let published = api
        .runtime
        .publish_version(
            fields.text("stateMachineArn"),
            fields.optional("revisionId"),
            fields.shared("description"),
        )
        .await?;
    Ok(Shown::new()
        .with("stateMachineVersionArn", &*published.arn)
        .date("creationDate", published.created_at)
        .done())
}

pub(super) async fn delete(api: &Api, fields: &Fields<'_>) -> Answer {
    api.runtime.delete_version(fields.text("stateMachineVersionArn")).await?;
    Ok(nothing())
}

pub(super) async fn list(api: &Api, fields: &Fields<'_>) -> Answer {
    let listed = api.runtime.list_versions(fields.text("stateMachineArn"), fields.page()).await?;
    let items = listed.items.iter().map(|version| {
        Shown::new()
            .with("stateMachineVersionArn", &*version.arn)
            .date("creationDate", version.created_at)
            .done()
    });
    Ok(page("stateMachineVersions", items.collect(), listed.next_token))
}
