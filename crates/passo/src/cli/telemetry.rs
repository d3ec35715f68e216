//! Where traces go: OpenTelemetry's own variables, else `[telemetry]` of the configuration file.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::config::Settings;
use crate::server::Telemetry;

/// OpenTelemetry's default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// None when nobody names a collector, or when it is switched off.
pub fn telemetry(settings: &Settings, environment: &dyn Fn(&str) -> Option<String>) -> Option<Telemetry> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    let is = |name: &str, value: &str| variable(name).is_some_and(|given| given.eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let of_traces = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let base = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    let base = base.or_else(|| settings.text(&["telemetry", "otlp_endpoint"]).map(str::to_owned));
    let below = base.map(|base| format!("{}/v1/traces", base.trim_end_matches('/')));
    let traces_endpoint = of_traces.or(below)?;
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        if is(name, "grpc") {
            tracing::warn!(
                "{name} is grpc; OTLP over HTTP with JSON is spoken, on the collector's port for HTTP (4318)"
            );
        }
    }
    let either = |first: &str, second: &str, key: &str| {
        let given = variable(first).or_else(|| variable(second));
        given.or_else(|| settings.text(&["telemetry", key]).map(str::to_owned)).unwrap_or_default()
    };
    let headers = either("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS", "otlp_headers");
    let resource = pairs(&either("OTEL_RESOURCE_ATTRIBUTES", "", "resource_attributes"));
    let named = resource.iter().find(|(name, _)| name == "service.name").map(|(_, value)| value.clone());
    let own_name = either("OTEL_SERVICE_NAME", "", "service_name");
    let service_name = Some(own_name).filter(|name| !name.is_empty()).or(named);
    let timeout =
        variable("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT").or_else(|| variable("OTEL_EXPORTER_OTLP_TIMEOUT"));
    let timeout = timeout.and_then(|millis| millis.parse().ok()).map(Duration::from_millis);
    Some(Telemetry {
        traces_endpoint,
        headers: pairs(&headers),
        service_name: service_name.unwrap_or_else(|| "passo".into()),
        resource,
        timeout: timeout.unwrap_or(TIMEOUT),
    })
}

/// `name=value,name=value`, with values percent-encoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
        Some((name.trim().to_owned(), value)).filter(|(name, _)| !name.is_empty())
    };
    text.split(',').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_beat_the_file_and_nothing_is_sent_unless_a_collector_is_named() {
        let file = "[telemetry]\notlp_endpoint = \"http://file:4318/\"\nservice_name = \"of-file\"\n";
        let settings = Settings::parse("passo.toml".as_ref(), file).unwrap();
        let none = |_: &str| None;
        assert_eq!(telemetry(&Settings::default(), &none), None);
        let found = telemetry(&settings, &none).unwrap();
        assert_eq!(found.traces_endpoint, "http://file:4318/v1/traces");
        assert_eq!(found.service_name, "of-file");
        let given = |name: &str| {
            let value = match name {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => "http://given:1/path",
                "OTEL_EXPORTER_OTLP_HEADERS" => "api-key=a%20b, x=y",
                "OTEL_RESOURCE_ATTRIBUTES" => "deployment.environment.name=test",
                "OTEL_EXPORTER_OTLP_TIMEOUT" => "2500",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let found = telemetry(&settings, &given).unwrap();
        assert_eq!(found.traces_endpoint, "http://given:1/path");
        assert_eq!(found.headers, [("api-key".into(), "a b".into()), ("x".into(), "y".into())]);
        assert_eq!(found.resource, [("deployment.environment.name".into(), "test".into())]);
        assert_eq!(found.timeout, Duration::from_millis(2500));
        let off = |name: &str| (name == "OTEL_SDK_DISABLED").then(|| "true".to_owned());
        assert_eq!(telemetry(&settings, &off), None);
    }
}
