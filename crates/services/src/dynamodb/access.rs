//! Which IAM action on which resource a DynamoDB request needs.
//!
//! Transactions and PartiQL are authorised as the item operations they consist of, as on AWS.

use crate::wire::Access;
use serde_json::Value;

/// What `operation` with this request needs, once each.
pub(super) fn needed(operation: &str, request: &Value, region: &str, account: &str) -> Vec<Access> {
    let place = Place { region, account };
    let own = format!("dynamodb:{operation}");
    let mut all = match operation {
        "ListTables" | "DescribeLimits" | "DescribeEndpoints" | "ListStreams" => {
            vec![Access::new(own, "*".to_owned())]
        }
        "BatchGetItem" | "BatchWriteItem" => {
            let tables = request.get("RequestItems").and_then(Value::as_object);
            tables.into_iter().flatten().map(|(table, _)| place.table(&own, table)).collect()
        }
        "TransactWriteItems" | "TransactGetItems" => place.transaction(request),
        "ExecuteStatement" => place.statement(text(request, "Statement")),
        "ExecuteTransaction" => place.statements(request, "TransactStatements"),
        "BatchExecuteStatement" => place.statements(request, "Statements"),
        "TagResource" | "UntagResource" | "ListTagsOfResource" => {
            vec![Access::new(own, text(request, "ResourceArn").to_owned())]
        }
        "DescribeStream" | "GetShardIterator" => {
            vec![Access::new(own, text(request, "StreamArn").to_owned())]
        }
        "GetRecords" => vec![Access::new(own, place.arn("*/stream/*"))],
        _ => vec![place.table_or_index(&own, request)],
    };
    all.dedup();
    all
}

fn text<'a>(request: &'a Value, member: &str) -> &'a str {
    request.get(member).and_then(Value::as_str).unwrap_or("")
}

struct Place<'a> {
    region: &'a str,
    account: &'a str,
}

impl Place<'_> {
    fn arn(&self, table: &str) -> String {
        if table.starts_with("arn:") {
            return table.to_owned();
        }
        format!("arn:aws:dynamodb:{}:{}:table/{table}", self.region, self.account)
    }

    fn table(&self, action: &str, table: &str) -> Access {
        Access::new(action, self.arn(table))
    }

    fn table_or_index(&self, action: &str, request: &Value) -> Access {
        let mut needed = self.table(action, text(request, "TableName"));
        let index = text(request, "IndexName");
        if !index.is_empty() {
            needed.resources = vec![format!("{}/index/{index}", needed.resources[0])];
        }
        needed
    }

    fn transaction(&self, request: &Value) -> Vec<Access> {
        let items = request.get("TransactItems").and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .flatten()
            .map(|(kind, item)| {
                let action = match kind.as_str() {
                    "Put" => "dynamodb:PutItem",
                    "Update" => "dynamodb:UpdateItem",
                    "Delete" => "dynamodb:DeleteItem",
                    "ConditionCheck" => "dynamodb:ConditionCheckItem",
                    _ => "dynamodb:GetItem",
                };
                self.table(action, text(item, "TableName"))
            })
            .collect()
    }

    fn statements(&self, request: &Value, member: &str) -> Vec<Access> {
        let statements = request.get(member).and_then(Value::as_array);
        statements.into_iter().flatten().flat_map(|entry| self.statement(text(entry, "Statement"))).collect()
    }

    fn statement(&self, statement: &str) -> Vec<Access> {
        let mut words = statement.split_whitespace();
        let verb = words.next().unwrap_or("").to_ascii_uppercase();
        let (action, before) = match verb.as_str() {
            "SELECT" => ("dynamodb:PartiQLSelect", "FROM"),
            "INSERT" => ("dynamodb:PartiQLInsert", "INTO"),
            "DELETE" => ("dynamodb:PartiQLDelete", "FROM"),
            _ => ("dynamodb:PartiQLUpdate", ""),
        };
        let table = if before.is_empty() {
            words.next()
        } else {
            words.skip_while(|word| !word.eq_ignore_ascii_case(before)).nth(1)
        };
        let name = table.unwrap_or("");
        let mut parts = name.split('.').map(|part| part.trim_matches('"'));
        let mut needed = self.table(action, parts.next().unwrap_or(""));
        if let Some(index) = parts.next() {
            needed.resources = vec![format!("{}/index/{index}", needed.resources[0])];
        }
        vec![needed]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(operation: &str, request: Value) -> Vec<String> {
        let all = needed(operation, &request, "eu-west-1", "123456789012");
        all.into_iter().map(|one| format!("{} {}", one.action, one.resources[0])).collect()
    }

    #[test]
    fn each_request_names_its_actions_and_resources() {
        let table = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders";
        let cases = [
            ("PutItem", json!({"TableName": "orders"}), vec![format!("dynamodb:PutItem {table}")]),
            (
                "Query",
                json!({"TableName": "orders", "IndexName": "byDay"}),
                vec![format!("dynamodb:Query {table}/index/byDay")],
            ),
            (
                "TransactWriteItems",
                json!({"TransactItems": [{"Put": {"TableName": "orders"}}, {"ConditionCheck": {"TableName": "orders"}}]}),
                vec![format!("dynamodb:PutItem {table}"), format!("dynamodb:ConditionCheckItem {table}")],
            ),
            (
                "ExecuteStatement",
                json!({"Statement": "SELECT * FROM \"orders\".\"byDay\" WHERE a=1"}),
                vec![format!("dynamodb:PartiQLSelect {table}/index/byDay")],
            ),
            ("ListTables", json!({}), vec!["dynamodb:ListTables *".to_owned()]),
        ];
        for (operation, request, expected) in cases {
            assert_eq!(words(operation, request), expected, "{operation}");
        }
    }
}
