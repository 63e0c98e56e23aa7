//! A minimal implementation of the protocol: Streamable HTTP with one POST per message. Nothing here is
//! specific to OAuth, except that each tool is a separate route.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, ORIGIN};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const VERSION: &str = "2026-07-28";

/// State of the endpoint: the tools as routes, their list, and the allowed browser origin.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) tools: Router,
    pub(crate) list: Value,
    pub(crate) origin: Arc<str>,
}

/// Handles one message.
pub(crate) async fn endpoint(
    State(server): State<Server>,
    parts: Parts,
    Json(message): Json<Value>,
) -> Response {
    let header = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    // Prevents DNS rebinding: browsers send the origin of the page.
    if header(ORIGIN.as_str()).is_some_and(|origin| *origin != *server.origin) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(method) = message["method"].as_str() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let (id, params) = (message["id"].clone(), &message["params"]);
    if id.is_null() {
        return StatusCode::ACCEPTED.into_response();
    }
    let version = params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str();
    if version != Some(VERSION) {
        let data = json!({ "supported": [VERSION], "requested": version });
        let error =
            json!({ "code": -32022, "message": "Unsupported protocol version", "data": data });
        return respond(StatusCode::BAD_REQUEST, &id, "error", error);
    }
    // The headers, which proxies may use for routing, must match the message.
    let name = Some(&params["name"]).filter(|_| method == "tools/call");
    if header("mcp-protocol-version") != version
        || header("mcp-method") != Some(method)
        || name.is_some_and(|name| header("mcp-name") != name.as_str())
    {
        let error = json!({ "code": -32020, "message": "Header mismatch" });
        return respond(StatusCode::BAD_REQUEST, &id, "error", error);
    }
    let result = match method {
        "server/discover" => json!({ "resultType": "complete", "supportedVersions": [VERSION],
            "capabilities": { "tools": {} }, "ttlMs": 3_600_000, "cacheScope": "public" }),
        "tools/list" => json!({ "resultType": "complete", "tools": server.list,
            "ttlMs": 3_600_000, "cacheScope": "public" }),
        "tools/call" => return call_tool(&server, parts, &id, params).await,
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            return respond(StatusCode::NOT_FOUND, &id, "error", error);
        }
    };
    respond(StatusCode::OK, &id, "result", result)
}

/// Calls the tool through its scope layer. A 401 or 403 is returned unchanged, with its challenge.
async fn call_tool(server: &Server, mut parts: Parts, id: &Value, params: &Value) -> Response {
    let name = params["name"].as_str().unwrap_or_default();
    let is_known = server
        .list
        .as_array()
        .is_some_and(|all| all.iter().any(|tool| tool["name"] == name));
    let (true, Ok(uri)) = (is_known, format!("/{name}").parse::<Uri>()) else {
        let error = json!({ "code": -32602, "message": "Unknown tool" });
        return respond(StatusCode::OK, id, "error", error);
    };
    parts.uri = uri;
    parts.headers.remove(CONTENT_LENGTH);
    let request = Request::from_parts(parts, Body::from(params["arguments"].to_string()));
    let response = server.tools.clone().oneshot(request).await.into_response();
    let is_error = match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return response,
        status => !status.is_success(),
    };
    let text = to_bytes(response.into_body(), 64 * 1024)
        .await
        .unwrap_or_default();
    let content = json!([{ "type": "text", "text": String::from_utf8_lossy(&text) }]);
    let result = json!({ "resultType": "complete", "content": content, "isError": is_error });
    respond(StatusCode::OK, id, "result", result)
}

fn respond(status: StatusCode, id: &Value, member: &str, value: Value) -> Response {
    let mut message = json!({ "jsonrpc": "2.0", "id": id });
    message[member] = value;
    (status, Json(message)).into_response()
}
