//! Activities: names at which workers ask for tasks.

use std::sync::Arc;

use asl::arn::{Arn, ArnResource};
use asl::timestamp::Timestamp;
use serde_json::Value;
use store::{
    ActivityRecord, Batch, RegistryKey, RegistryKind, RegistryRecord, RegistryWrite, Scope, TagsRecord,
};

use super::configuration::{check_encryption, same_encryption};
use super::{Listing, Registry, RegistryPage, tags};
use crate::error::Error;
use crate::names;
use crate::page::PageRequest;
use crate::runtime::Runtime;

/// CreateActivity.
#[derive(Clone, Debug)]
pub struct CreateActivity {
    /// `name`
    pub name: Arc<str>,
    /// `tags`
    pub tags: Vec<(Arc<str>, Arc<str>)>,
    /// `encryptionConfiguration` as given
    pub encryption: Option<Value>,
}

/// Answer of CreateActivity.
#[derive(Clone, Debug)]
pub struct ActivityCreated {
    /// `activityArn`
    pub arn: Arc<str>,
    /// `creationDate`
    pub created_at: Timestamp,
}

impl Runtime {
    /// CreateActivity: the same name again gives the same activity; its tags are not looked at.
    pub async fn create_activity(
        &self,
        scope: &Scope,
        request: CreateActivity,
    ) -> Result<ActivityCreated, Error> {
        names::check(&request.name)?;
        tags::check(&request.tags)?;
        check_encryption(request.encryption.as_ref())?;
        let arn: Arc<str> = Arn::activity(&scope.region, &scope.account, &request.name).to_string().into();
        let _changing = self.registry.changing.lock().await;
        if let Some(existing) = self.registry.activity(&arn).await? {
            if !same_encryption(existing.encryption.as_ref(), request.encryption.as_ref()) {
                return Err(Error::ActivityAlreadyExists(arn));
            }
            return Ok(ActivityCreated { arn, created_at: existing.created_at });
        }
        let present = self.registry.count(scope, RegistryKind::Activity).await?;
        if present >= self.core.config.quotas.activities {
            return Err(Error::ActivityLimitExceeded);
        }
        let now = self.core.clock.now();
        let CreateActivity { name, tags, encryption } = request;
        let activity = ActivityRecord { arn: Arc::clone(&arn), name, created_at: now, encryption };
        let mut registry = vec![RegistryWrite::Put(RegistryRecord::Activity(Arc::new(activity)))];
        if !tags.is_empty() {
            let tags = TagsRecord { resource_arn: Arc::clone(&arn), tags };
            registry.push(RegistryWrite::Put(RegistryRecord::Tags(Arc::new(tags))));
        }
        self.registry.write(Batch { registry, ..Batch::default() }).await?;
        Ok(ActivityCreated { arn, created_at: now })
    }

    /// DescribeActivity.
    pub async fn describe_activity(&self, arn: &str) -> Result<Arc<ActivityRecord>, Error> {
        key(arn)?;
        self.registry.activity(arn).await?.ok_or_else(|| Error::ActivityDoesNotExist(arn.into()))
    }

    /// DeleteActivity; one that is not there is no error.
    pub async fn delete_activity(&self, arn: &str) -> Result<(), Error> {
        let key = key(arn)?;
        let _changing = self.registry.changing.lock().await;
        let mut registry = vec![RegistryWrite::Delete(key)];
        registry.extend(RegistryKey::of_tags(arn).map(RegistryWrite::Delete));
        self.registry.write(Batch { registry, ..Batch::default() }).await
    }

    /// ListActivities of an account in a region.
    pub async fn list_activities(
        &self,
        scope: &Scope,
        page: PageRequest,
    ) -> Result<RegistryPage<ActivityRecord>, Error> {
        let pick = |record| match record {
            RegistryRecord::Activity(record) => Some(record),
            _ => None,
        };
        self.registry.page(Listing::all(scope, RegistryKind::Activity), &page, pick).await
    }
}

impl Registry {
    pub(super) async fn activity(&self, arn: &str) -> Result<Option<Arc<ActivityRecord>>, Error> {
        let Some(key) = RegistryKey::of_arn(arn) else { return Ok(None) };
        match self.get(key).await? {
            Some(RegistryRecord::Activity(record)) => Ok(Some(record)),
            Some(_) | None => Ok(None),
        }
    }
}

fn key(text: &str) -> Result<RegistryKey, Error> {
    let arn = Arn::parse(text)?;
    let ArnResource::Activity { .. } = &arn.resource else { return Err(arn.wrong_type().into()) };
    RegistryKey::of_arn(text).ok_or_else(|| Error::invalid_arn(text))
}
