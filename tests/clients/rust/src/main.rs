//! The short scenario of tests/clients, with the AWS SDK for Rust. AWS_ENDPOINT_URL says where.

use std::time::{Duration, Instant};

use aws_sdk_sfn::Client;
use aws_sdk_sfn::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_sfn::config::{BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents};
use aws_sdk_sfn::error::BoxError;
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEventType, StateMachineType, SyncExecutionStatus};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

const ROLE: &str = "arn:aws:iam::000000000000:role/any";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let client = client()?;
    let activity = client.create_activity().name("rust").send().await?.activity_arn;
    let definition = json!({"StartAt": "Ask", "States": {
        "Ask": {"Type": "Task", "Resource": activity, "Next": "Answer"}, "Answer": {"Type": "Pass", "End": true}}});
    let machine =
        client.create_state_machine().name("rust").definition(definition.to_string()).role_arn(ROLE);
    let machine = machine.send().await?.state_machine_arn;
    let start = client.start_execution().state_machine_arn(&machine).name("first");
    let execution = start.clone().input(r#"{"n": 1}"#).send().await?.execution_arn;
    let again = start.input("{}").send().await.unwrap_err().into_service_error();
    assert!(again.is_execution_already_exists(), "{again}");

    let task = client.get_activity_task().activity_arn(&activity).send().await?;
    assert_eq!(parsed(task.input())?, json!({"n": 1}));
    client.send_task_failure().set_task_token(task.task_token).error("NotYet").send().await?;
    assert_eq!(ended(&client, &execution).await?.error(), Some("NotYet"));
    client.redrive_execution().execution_arn(&execution).send().await?;
    let task = client.get_activity_task().activity_arn(&activity).send().await?;
    client.send_task_success().set_task_token(task.task_token).output(r#"{"n": 2}"#).send().await?;
    let done = ended(&client, &execution).await?;
    assert_eq!((done.status(), done.redrive_count()), (&ExecutionStatus::Succeeded, Some(1)));
    assert_eq!(parsed(done.output())?, json!({"n": 2}));
    let history = client.get_execution_history().execution_arn(&execution).send().await?;
    assert_eq!(
        history.events().last().map(|event| event.r#type()),
        Some(&HistoryEventType::ExecutionSucceeded)
    );

    synchronous(&client).await?;
    let missing = "arn:aws:states:us-east-1:000000000000:stateMachine:missing";
    let error =
        client.start_execution().state_machine_arn(missing).send().await.unwrap_err().into_service_error();
    assert!(error.is_state_machine_does_not_exist(), "{error}");
    println!("the scenario passed");
    Ok(())
}

/// The SDK for Rust puts "sync-" before every host for StartSyncExecution, and "sync-127.0.0.1" is none.
#[derive(Debug)]
struct NoPrefix;

impl Intercept for NoPrefix {
    fn name(&self) -> &'static str {
        "NoPrefix"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let uri = context.request().uri().replace("://sync-", "://");
        Ok(context.request_mut().set_uri(uri)?)
    }
}

fn client() -> Result<Client, Failure> {
    let config = aws_sdk_sfn::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "scenario"))
        .endpoint_url(std::env::var("AWS_ENDPOINT_URL")?)
        .interceptor(NoPrefix)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Ok(Client::from_conf(config))
}

async fn synchronous(client: &Client) -> Result<(), Failure> {
    let pass = json!({"StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": true}}}).to_string();
    let express = client.create_state_machine().name("rust-express").definition(pass).role_arn(ROLE);
    let express = express.r#type(StateMachineType::Express).send().await?.state_machine_arn;
    let done = client.start_sync_execution().state_machine_arn(&express).input("[1]").send().await?;
    assert_eq!(done.status(), &SyncExecutionStatus::Succeeded);
    assert_eq!(parsed(done.output())?, json!([1]));
    client.delete_state_machine().state_machine_arn(&express).send().await?;
    Ok(())
}

async fn ended(client: &Client, execution: &str) -> Result<DescribeExecutionOutput, Failure> {
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        let found = client.describe_execution().execution_arn(execution).send().await?;
        if found.status() != &ExecutionStatus::Running {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("{execution} has not ended").into())
}

fn parsed(text: Option<&str>) -> Result<Value, Failure> {
    Ok(serde_json::from_str(text.unwrap_or("null"))?)
}
