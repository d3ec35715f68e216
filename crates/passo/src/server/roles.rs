//! What AWS checks of a state machine's role when the machine is created or updated: that Step Functions may assume it, may
//! set up the managed rules that tell it of the ends of `.sync` jobs, and may deliver logs.
//!
//! The rules themselves are not made: the embedded services are watched directly. The permissions are asked for all the
//! same, because a role that lacks them cannot be deployed to AWS.

use std::sync::Arc;

use api::RoleUse;
use runtime::BoxFuture;
use services::Services;
use services::wire::Access;

const STATES: &str = "states.amazonaws.com";

/// Managed rules by the start of the resource that needs them, from the policies of AWS's developer guide. Services that
/// are not named are watched by polling.
const MANAGED_RULES: [(&str, &str); 6] = [
    ("ecs:runTask.sync", "StepFunctionsGetEventsForECSTaskRule"),
    ("batch:submitJob.sync", "StepFunctionsGetEventsForBatchJobsRule"),
    ("states:startExecution.sync", "StepFunctionsGetEventsForStepFunctionsExecutionRule"),
    ("sagemaker:createTrainingJob.sync", "StepFunctionsGetEventsForSageMakerTrainingJobsRule"),
    ("sagemaker:createTransformJob.sync", "StepFunctionsGetEventsForSageMakerTransformJobsRule"),
    ("codebuild:startBuild.sync", "StepFunctionsGetEventForCodeBuildStartBuildRule"),
];

/// Why a role cannot be used as a state machine would; none when it can.
pub(super) type RoleRefusal = Arc<dyn Fn(RoleUse) -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// Asks IAM.
pub(super) fn refusal(services: Services) -> RoleRefusal {
    Arc::new(move |wanted| {
        let services = services.clone();
        Box::pin(async move { refused(&services, &wanted) })
    })
}

fn refused(services: &Services, wanted: &RoleUse) -> Option<String> {
    let session = services.iam().role_session_for_service(&wanted.role_arn, STATES, "StepFunctions", None);
    let Ok(role) = session else {
        return Some(
            "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the \
             provided role."
                .into(),
        );
    };
    let allowed = |access: Access| services.authorize(&role, &access).is_allowed();
    if !rules(wanted).iter().all(|rule| may_manage(rule, &allowed)) {
        return Some(format!("'{}' is not authorized to create managed-rule.", wanted.role_arn));
    }
    if wanted.logs && !may_deliver(&allowed) {
        return Some("The state machine IAM Role is not authorized to access the Log Destination".into());
    }
    None
}

/// ARNs of the managed rules, each once.
fn rules(wanted: &RoleUse) -> Vec<String> {
    let needed = MANAGED_RULES.iter().filter(|(resource, _)| {
        wanted
            .resources
            .iter()
            .any(|used| used.split(":::").nth(1).is_some_and(|used| used.starts_with(resource)))
    });
    let (region, account) = (&wanted.scope.region, &wanted.scope.account);
    needed.map(|(_, rule)| format!("arn:aws:events:{region}:{account}:rule/{rule}")).collect()
}

fn may_manage(rule: &str, allowed: &impl Fn(Access) -> bool) -> bool {
    ["events:PutRule", "events:PutTargets", "events:DescribeRule"]
        .iter()
        .all(|action| allowed(Access::new(*action, rule)))
}

fn may_deliver(allowed: &impl Fn(Access) -> bool) -> bool {
    [
        "logs:CreateLogDelivery",
        "logs:PutResourcePolicy",
        "logs:DescribeResourcePolicies",
        "logs:DescribeLogGroups",
    ]
    .iter()
    .all(|action| allowed(Access::new(*action, "*")))
}
