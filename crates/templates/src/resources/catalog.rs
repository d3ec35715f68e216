//! The resource types: what is made of each, which of its properties force another resource in its place, what
//! `Fn::GetAtt` gives, and which properties are refused.

/// What this build does with a resource type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// Makes it.
    Run,
    /// Keeps it in the stack and says so, for this reason.
    Recorded(&'static str),
    /// Refuses it, for this reason.
    Refused(&'static str),
}

/// One resource type that is made or recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub kind: &'static str,
    pub support: Support,
    /// The property that names it uniquely in account and region, and how long names may be.
    pub name: Option<(&'static str, usize)>,
    /// Properties that cannot be changed; `*` for all but tags.
    pub replaced_by: &'static [&'static str],
    pub attributes: &'static [&'static str],
    /// Properties with an effect that is not here, so that the stack would not do what it says.
    pub refused: &'static [&'static str],
    /// Properties without which the stack does the same here: they are kept in it, with this said.
    pub recorded: &'static [(&'static str, &'static str)],
}

const NOTHING: Entry = Entry {
    kind: "",
    support: Support::Run,
    name: None,
    replaced_by: &[],
    attributes: &[],
    refused: &[],
    recorded: &[],
};

const fn recorded(kind: &'static str, reason: &'static str) -> Entry {
    Entry { kind, support: Support::Recorded(reason), ..NOTHING }
}

const TYPES: &[Entry] = &[
    Entry { kind: "AWS::ApiGateway::Account", attributes: &["Id"], ..NOTHING },
    Entry {
        kind: "AWS::ApiGateway::Deployment",
        replaced_by: &["*"],
        attributes: &["DeploymentId"],
        refused: &["DeploymentCanarySettings", "StageDescription"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::ApiGateway::Method",
        replaced_by: &["HttpMethod", "ResourceId", "RestApiId"],
        refused: &["AuthorizerId", "RequestValidatorId"],
        ..NOTHING
    },
    Entry { kind: "AWS::ApiGateway::Resource", replaced_by: &["*"], attributes: &["ResourceId"], ..NOTHING },
    Entry {
        kind: "AWS::ApiGateway::RestApi",
        attributes: &["RestApiId", "RootResourceId"],
        refused: &["Body", "BodyS3Location", "CloneFrom"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::ApiGateway::Stage",
        replaced_by: &["RestApiId", "StageName"],
        refused: &["CanarySetting"],
        recorded: &[
            ("AccessLogSetting", "requests are not logged"),
            ("MethodSettings", "nothing is throttled or cached"),
            ("TracingEnabled", "requests are not traced"),
        ],
        ..NOTHING
    },
    recorded("AWS::CDK::Metadata", "it describes the template"),
    recorded("AWS::CloudFormation::WaitConditionHandle", "nothing waits for it"),
    recorded("AWS::Lambda::EventInvokeConfig", "asynchronous invocations are retried as by default"),
    recorded("AWS::CloudWatch::Dashboard", "dashboards are not drawn here"),
    Entry {
        kind: "AWS::CloudWatch::Alarm",
        name: Some(("AlarmName", 255)),
        replaced_by: &["AlarmName"],
        attributes: &["Arn"],
        refused: &["Metrics", "ThresholdMetricId"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::DynamoDB::Table",
        name: Some(("TableName", 255)),
        replaced_by: &["TableName", "KeySchema", "LocalSecondaryIndexes"],
        attributes: &["Arn", "StreamArn"],
        refused: &["ImportSourceSpecification", "KinesisStreamSpecification"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::ECS::Cluster",
        name: Some(("ClusterName", 255)),
        replaced_by: &["ClusterName"],
        attributes: &["Arn"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::ECS::TaskDefinition",
        replaced_by: &["*"],
        attributes: &["TaskDefinitionArn"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::Events::Connection",
        name: Some(("Name", 64)),
        replaced_by: &["Name"],
        attributes: &["Arn", "ArnForPolicy", "SecretArn"],
        refused: &["InvocationConnectivityParameters"],
        recorded: &[("KmsKeyIdentifier", "connections are sealed with this server's own key")],
        ..NOTHING
    },
    Entry {
        kind: "AWS::Events::EventBus",
        name: Some(("Name", 256)),
        replaced_by: &["Name"],
        attributes: &["Arn", "Name"],
        refused: &["EventSourceName"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::Events::Rule",
        name: Some(("Name", 64)),
        replaced_by: &["Name", "EventBusName"],
        attributes: &["Arn"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::IAM::ManagedPolicy",
        name: Some(("ManagedPolicyName", 128)),
        replaced_by: &["ManagedPolicyName", "Path", "Description"],
        attributes: &["PolicyArn"],
        refused: &["Groups"],
        ..NOTHING
    },
    Entry { kind: "AWS::IAM::Policy", refused: &["Groups"], ..NOTHING },
    Entry {
        kind: "AWS::IAM::Role",
        name: Some(("RoleName", 64)),
        replaced_by: &["RoleName", "Path"],
        attributes: &["Arn", "RoleId"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::Lambda::Alias",
        replaced_by: &["FunctionName", "Name"],
        attributes: &["AliasArn"],
        refused: &["ProvisionedConcurrencyConfig"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::Lambda::EventSourceMapping",
        replaced_by: &["EventSourceArn"],
        attributes: &["EventSourceMappingArn", "Id"],
        refused: &[
            "AmazonManagedKafkaEventSourceConfig",
            "BisectBatchOnFunctionError",
            "DestinationConfig",
            "DocumentDBEventSourceConfig",
            "MaximumRecordAgeInSeconds",
            "MaximumRetryAttempts",
            "ParallelizationFactor",
            "Queues",
            "SelfManagedEventSource",
            "SelfManagedKafkaEventSourceConfig",
            "SourceAccessConfigurations",
            "StartingPosition",
            "StartingPositionTimestamp",
            "Topics",
            "TumblingWindowInSeconds",
        ],
        recorded: &[
            ("KmsKeyArn", "nothing is encrypted with it"),
            ("LoggingConfig", "what the mapping does is in the server's log"),
            ("MetricsConfig", "mappings are not counted"),
            ("ProvisionedPollerConfig", "pollers are made as they are needed"),
        ],
        ..NOTHING
    },
    Entry {
        kind: "AWS::Lambda::Function",
        name: Some(("FunctionName", 64)),
        replaced_by: &["FunctionName", "PackageType"],
        attributes: &["Arn", "CodeSha256"],
        refused: &["DeadLetterConfig", "FileSystemConfigs", "ImageConfig", "Layers"],
        recorded: &[
            ("KmsKeyArn", "nothing is encrypted with it"),
            ("VpcConfig", "functions are in the network of this machine"),
        ],
        ..NOTHING
    },
    Entry { kind: "AWS::Lambda::Permission", replaced_by: &["*"], attributes: &["Id"], ..NOTHING },
    Entry {
        kind: "AWS::Lambda::Version",
        replaced_by: &["*"],
        attributes: &["Version", "FunctionArn"],
        refused: &["ProvisionedConcurrencyConfig"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::Logs::LogGroup",
        name: Some(("LogGroupName", 512)),
        replaced_by: &["LogGroupName"],
        attributes: &["Arn"],
        ..NOTHING
    },
    Entry { kind: "AWS::Logs::LogStream", replaced_by: &["*"], ..NOTHING },
    Entry {
        kind: "AWS::Logs::ResourcePolicy",
        name: Some(("PolicyName", 255)),
        replaced_by: &["PolicyName"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::S3::Bucket",
        name: Some(("BucketName", 63)),
        replaced_by: &["BucketName", "Region"],
        attributes: &["Arn", "DomainName", "RegionalDomainName", "DualStackDomainName"],
        refused: &[
            "InventoryConfigurations",
            "ObjectLockConfiguration",
            "ReplicationConfiguration",
            "WebsiteConfiguration",
        ],
        recorded: &[
            ("AnalyticsConfigurations", "nothing is analysed"),
            ("IntelligentTieringConfigurations", "there is one storage class"),
            ("LifecycleConfiguration", "nothing expires by itself"),
            ("LoggingConfiguration", "requests are not logged into buckets"),
            ("MetricsConfigurations", "requests are not counted by bucket"),
        ],
        ..NOTHING
    },
    Entry { kind: "AWS::S3::BucketPolicy", replaced_by: &["Bucket"], ..NOTHING },
    Entry {
        kind: "AWS::SNS::Subscription",
        replaced_by: &["Endpoint", "Protocol", "TopicArn"],
        attributes: &["Arn"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::SNS::Topic",
        name: Some(("TopicName", 256)),
        replaced_by: &["FifoTopic", "TopicName"],
        attributes: &["TopicArn", "TopicName"],
        refused: &["ArchivePolicy", "DataProtectionPolicy"],
        ..NOTHING
    },
    Entry { kind: "AWS::SNS::TopicPolicy", attributes: &["Id"], ..NOTHING },
    Entry {
        kind: "AWS::SQS::Queue",
        name: Some(("QueueName", 80)),
        replaced_by: &["FifoQueue", "QueueName"],
        attributes: &["Arn", "QueueName", "QueueUrl"],
        ..NOTHING
    },
    Entry { kind: "AWS::SQS::QueuePolicy", attributes: &["Id"], ..NOTHING },
    Entry {
        kind: "AWS::Scheduler::Schedule",
        name: Some(("Name", 64)),
        replaced_by: &["GroupName", "Name"],
        attributes: &["Arn"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::Scheduler::ScheduleGroup",
        name: Some(("Name", 64)),
        replaced_by: &["Name"],
        attributes: &["Arn"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::StepFunctions::Activity",
        name: Some(("Name", 80)),
        replaced_by: &["EncryptionConfiguration", "Name"],
        attributes: &["Arn", "Name"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::StepFunctions::StateMachine",
        name: Some(("StateMachineName", 80)),
        replaced_by: &["StateMachineName", "StateMachineType"],
        attributes: &["Arn", "Name", "StateMachineRevisionId"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::StepFunctions::StateMachineAlias",
        replaced_by: &["Name"],
        attributes: &["Arn"],
        ..NOTHING
    },
    Entry {
        kind: "AWS::StepFunctions::StateMachineVersion",
        replaced_by: &["*"],
        attributes: &["Arn"],
        ..NOTHING
    },
];

/// Types that people try first, with what to say to them. All others are refused without a reason.
const REFUSED: &[(&str, &str)] = &[
    ("AWS::ApiGatewayV2::Api", "HTTP APIs are not served here; start executions by the Step Functions API"),
    ("AWS::CloudFormation::Stack", "deploy nested stacks one by one and share values by exports"),
    ("AWS::DynamoDB::GlobalTable", "there is one region; use AWS::DynamoDB::Table"),
    ("AWS::ECS::Service", "only tasks that end are run; start them by ecs:runTask"),
    ("AWS::Events::ApiDestination", "calls to outside endpoints are not made from rules"),
    ("AWS::Lambda::LayerVersion", "put the packages into the function's folder or its requirements.txt"),
    ("AWS::Lambda::Url", "function URLs are not served here"),
    ("AWS::Serverless::Api", "HTTP APIs are not served here; start executions by the Step Functions API"),
    ("AWS::Serverless::Application", "deploy nested applications one by one"),
    ("AWS::Serverless::Connector", "write the permission as a policy of the role"),
    ("AWS::Serverless::HttpApi", "HTTP APIs are not served here; start executions by the Step Functions API"),
    ("AWS::Serverless::LayerVersion", "put the packages into the function's folder or its requirements.txt"),
];

/// What is known of a type that is made or recorded.
pub(crate) fn of(kind: &str) -> Option<&'static Entry> {
    TYPES.iter().find(|entry| entry.kind == kind)
}

/// Is this type made, recorded or refused?
pub(crate) fn support(kind: &str) -> Support {
    let reason = || REFUSED.iter().find(|(refused, _)| *refused == kind).map_or("", |(_, reason)| reason);
    of(kind).map_or_else(|| Support::Refused(reason()), |entry| entry.support)
}
