//! Aliases.

use std::sync::Arc;

use runtime::{AliasRouting, CreateAlias, Route, UpdateAlias};
use serde_json::{Value, json};

use super::{Answer, Shown, nothing, page};
use crate::Api;
use crate::fields::Fields;

fn routing(fields: &Fields<'_>) -> AliasRouting {
    let route = |item: &Value| Route {
        version_arn: Arc::from(item["stateMachineVersionArn"].as_str().unwrap_or_default()),
        weight: item["weight"].as_u64().and_then(|weight| u8::try_from(weight).ok()).unwrap_or_default(),
    };
    fields.list("routingConfiguration").iter().map(route).collect()
}

pub(super) async fn create(api: &Api, fields: &Fields<'_>) -> Answer {
    let request = CreateAlias {
        name: fields.text("name").into(),
        description: fields.shared("description"),
        routing: routing(fields),
    };
    let created = api.runtime.create_alias(request).await?;
    Ok(Shown::new()
        .with("stateMachineAliasArn", &*created.arn)
        .date("creationDate", created.created_at)
        .done())
}

pub(super) async fn update(api: &Api, fields: &Fields<'_>) -> Answer {
    let request = UpdateAlias {
        description: fields.shared("description"),
        routing: fields.get("routingConfiguration").map(|_| routing(fields)),
    };
    let updated_at = api.runtime.update_alias(fields.text("stateMachineAliasArn"), request).await?;
    Ok(Shown::new().date("updateDate", updated_at).done())
}

pub(super) async fn describe(api: &Api, fields: &Fields<'_>) -> Answer {
    let alias = api.runtime.describe_alias(fields.text("stateMachineAliasArn")).await?;
    let routing: Vec<Value> = alias
        .routing
        .iter()
        .map(|route| json!({ "stateMachineVersionArn": &*route.version_arn, "weight": route.weight }))
        .collect();
    Ok(Shown::new()
        .with("stateMachineAliasArn", &*alias.arn)
        .with("name", &*alias.name)
        .maybe("description", alias.description.as_ref())
        .with("routingConfiguration", routing)
        .date("creationDate", alias.created_at)
        .date("updateDate", alias.updated_at)
        .done())
}

pub(super) async fn delete(api: &Api, fields: &Fields<'_>) -> Answer {
    api.runtime.delete_alias(fields.text("stateMachineAliasArn")).await?;
    Ok(nothing())
}

pub(super) async fn list(api: &Api, fields: &Fields<'_>) -> Answer {
    let listed = api.runtime.list_aliases(fields.text("stateMachineArn"), fields.page()).await?;
    let items = listed.items.iter().map(|alias| {
        Shown::new().with("stateMachineAliasArn", &*alias.arn).date("creationDate", alias.created_at).done()
    });
    Ok(page("stateMachineAliases", items.collect(), listed.next_token))
}
