//! Tags of state machines and activities.

use std::sync::Arc;

use store::{Batch, RegistryKey, RegistryRecord, RegistryWrite, TagsRecord};

use super::Registry;
use crate::error::Error;
use crate::runtime::Runtime;

/// AWS's quota.
const TAGS_MAX: usize = 50;

/// Which part of a state machine's ARN names a version or an alias.
const QUALIFIER: usize = 7;

/// A key and its value.
type Tag = (Arc<str>, Arc<str>);

/// Refuses what a creation may not bring.
pub(super) fn check(tags: &[Tag]) -> Result<(), Error> {
    if tags.len() > TAGS_MAX {
        return Err(Error::TooManyTags("".into()));
    }
    Ok(())
}

impl Runtime {
    /// TagResource.
    pub async fn tag_resource(&self, resource_arn: &str, tags: Vec<Tag>) -> Result<(), Error> {
        let registry = &self.registry;
        let _changing = registry.changing.lock().await;
        let mut all = registry.tags(resource_arn).await?;
        for (key, value) in tags {
            match all.iter_mut().find(|(known, _)| *known == key) {
                Some((_, current)) => *current = value,
                None => all.push((key, value)),
            }
        }
        if all.len() > TAGS_MAX {
            return Err(Error::TooManyTags(resource_arn.into()));
        }
        registry.put_tags(resource_arn, all).await
    }

    /// UntagResource; keys that are not there are no error.
    pub async fn untag_resource(&self, resource_arn: &str, keys: &[Arc<str>]) -> Result<(), Error> {
        let registry = &self.registry;
        let _changing = registry.changing.lock().await;
        let mut all = registry.tags(resource_arn).await?;
        all.retain(|(key, _)| !keys.contains(key));
        registry.put_tags(resource_arn, all).await
    }

    /// ListTagsForResource.
    pub async fn list_tags(&self, resource_arn: &str) -> Result<Vec<Tag>, Error> {
        self.registry.tags(resource_arn).await
    }
}

impl Registry {
    /// The tags of something that exists.
    async fn tags(&self, arn: &str) -> Result<Vec<Tag>, Error> {
        let key = RegistryKey::of_arn(arn).ok_or_else(|| Error::invalid_arn(arn))?;
        // Versions and aliases bear no tags (recorded).
        let qualified = arn.split(':').nth(QUALIFIER).is_some();
        if qualified || self.get(key).await?.is_none() {
            return Err(Error::ResourceNotFound {
                message: format!("Resource not found: '{arn}'"),
                resource: Some(arn.into()),
            });
        }
        let Some(key) = RegistryKey::of_tags(arn) else { return Ok(Vec::new()) };
        match self.get(key).await? {
            Some(RegistryRecord::Tags(record)) => Ok(record.tags.clone()),
            Some(_) | None => Ok(Vec::new()),
        }
    }

    async fn put_tags(&self, arn: &str, tags: Vec<Tag>) -> Result<(), Error> {
        let record = TagsRecord { resource_arn: arn.into(), tags };
        let write = RegistryWrite::Put(RegistryRecord::Tags(Arc::new(record)));
        self.write(Batch { registry: vec![write], ..Batch::default() }).await
    }
}
