//! Activities.

use runtime::{ActivityRecord, CreateActivity};
use serde_json::{Value, json};

use super::{Answer, Shown, nothing, page};
use crate::fields::Fields;
use crate::{Api, Caller};

pub(super) async fn create(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Answer {
    let request = CreateActivity {
        name: fields.text("name").into(),
        tags: fields.tags("tags"),
        encryption: fields.value("encryptionConfiguration"),
    };
    let created = api.runtime.create_activity(&caller.scope, request).await?;
    Ok(Shown::new().with("activityArn", &*created.arn).date("creationDate", created.created_at).done())
}

fn shown(activity: &ActivityRecord) -> Shown {
    Shown::new()
        .with("activityArn", &*activity.arn)
        .with("name", &*activity.name)
        .date("creationDate", activity.created_at)
}

pub(super) async fn describe(api: &Api, fields: &Fields<'_>) -> Answer {
    let activity = api.runtime.describe_activity(fields.text("activityArn")).await?;
    let encryption = activity.encryption.clone().unwrap_or_else(|| json!({ "type": "AWS_OWNED_KEY" }));
    Ok(shown(&activity).with("encryptionConfiguration", encryption).done())
}

pub(super) async fn delete(api: &Api, fields: &Fields<'_>) -> Answer {
    api.runtime.delete_activity(fields.text("activityArn")).await?;
    Ok(nothing())
}

pub(super) async fn list(api: &Api, caller: &Caller, fields: &Fields<'_>) -> Answer {
    let listed = api.runtime.list_activities(&caller.scope, fields.page()).await?;
    let items: Vec<Value> = listed.items.iter().map(|activity| shown(activity).done()).collect();
    Ok(page("activities", items, listed.next_token))
}
