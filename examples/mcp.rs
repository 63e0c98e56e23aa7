//! A Model Context Protocol server, protected as its specification requires (revision 2026-07-28): tokens
//! for this server only, protected resource metadata, a challenge that links to it, and a scope for each tool.
//!
//! ```sh
//! cargo run --example mcp
//! ```
//!
//! A client that knows only the address discovers everything else from the first 401 response:
//!
//! ```sh
//! curl -i -X POST http://127.0.0.1:3000/mcp
//! # 401, www-authenticate: Bearer realm="api", scope="notes:read",
//! #      resource_metadata="http://127.0.0.1:3000/.well-known/oauth-protected-resource/mcp"
//! curl http://127.0.0.1:3000/.well-known/oauth-protected-resource/mcp
//! # {"authorization_servers":["http://127.0.0.1:9000"],"bearer_methods_supported":["header"],
//! #  "resource":"http://127.0.0.1:3000/mcp","resource_name":"Notes","scopes_supported":["notes:read","notes:write"]}
//! TOKEN=$(curl -s -u agent:agent-secret -d grant_type=client_credentials -d scope=notes:read \
//!     http://127.0.0.1:9000/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
//! call() { curl -i -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
//!     -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: 2026-07-28' \
//!     -H 'Mcp-Method: tools/call' -H "Mcp-Name: $1" http://127.0.0.1:3000/mcp -d '{"jsonrpc":"2.0","id":1,
//!     "method":"tools/call","params":{"name":"'$1'","arguments":'"$2"',"_meta":{
//!     "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'; }
//! call read_notes '{}'
//! # 200, {"id":1,"jsonrpc":"2.0","result":{"content":[{"text":"Buy milk","type":"text"}],"isError":false,…}}
//! call add_note '{"text":"Call Bob"}'
//! # 403, www-authenticate: Bearer realm="api", error="insufficient_scope", …, scope="notes:write", resource_metadata="…"
//! ```
//!
//! With `scope='notes:read notes:write'` in the token request the last call succeeds. For other ports, set
//! `ISSUER_ADDR=127.0.0.1:9100 APP_ADDR=127.0.0.1:3100`.
#![allow(clippy::print_stdout)]

#[path = "mcp/protocol.rs"]
mod protocol;

use std::env;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_oauth::bearer::{ResourceMetadata, ResourceMetadataLayer};
use tower_oauth::testing::{GrantType, ManualClock, TestClient, TestServer};
use tower_oauth::{AuthorizationServer, BearerLayer, ConfigError, ScopeLayer, VerifiedToken};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer_addr = env::var("ISSUER_ADDR").unwrap_or_else(|_| "127.0.0.1:9000".to_owned());
    let app_addr = env::var("APP_ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let issuer = format!("http://{issuer_addr}");
    let origin = format!("http://{app_addr}");

    // In your application, the authorization server is separate and only its issuer URL is configured.
    let agent = TestClient::confidential("agent", "agent-secret")
        .with_grant_types([GrantType::ClientCredentials])
        .with_scopes("notes:read notes:write")?
        .with_audience(&format!("{origin}/mcp"));
    let demo = TestServer::new(&issuer)?.with_clock(ManualClock::ticking());
    let _handle = demo.add_client(agent).listen(&issuer_addr).await?;

    let listener = tokio::net::TcpListener::bind(&app_addr).await?;
    println!("MCP server: {origin}/mcp, authorization server: {issuer}");
    let app = application(&AuthorizationServer::new(&issuer)?, &origin)?;
    axum::serve(listener, app).await?;
    Ok(())
}

/// The MCP endpoint at `/mcp`, and its protected resource metadata.
pub(crate) fn application(
    server: &AuthorizationServer,
    origin: &str,
) -> Result<Router, ConfigError> {
    // The URL that clients call, `resource` and the `aud` of tokens must be identical.
    let resource = format!("{origin}/mcp");
    let metadata = ResourceMetadata::new(&resource)?
        .add_authorization_server(server)
        .with_scopes("notes:read notes:write")?
        .with_name("Notes");
    let bearer = BearerLayer::jwt(server, resource)?
        .with_scope_hint("notes:read")?
        .without_forwarding() // the MCP specification forbids token passthrough
        .with_resource_metadata(&metadata)?;

    // Each tool is a route with its own scope requirement. The scope for writing also allows reading.
    let read = post(read_notes).layer(ScopeLayer::any("notes:read notes:write")?);
    let write = post(add_note).layer(ScopeLayer::all("notes:write")?);
    let tools = Router::new()
        .route("/read_notes", read)
        .route("/add_note", write)
        .with_state(Arc::new(Mutex::new(vec!["Buy milk".to_owned()])));

    let server = protocol::Server {
        tools,
        list: tool_list(),
        origin: origin.into(),
    };
    Ok(Router::new()
        .route("/mcp", post(protocol::endpoint))
        .route_layer(bearer)
        .with_state(server)
        .layer(ResourceMetadataLayer::new(metadata)))
}

type Notes = Arc<Mutex<Vec<String>>>;

async fn read_notes(State(notes): State<Notes>) -> String {
    notes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .join("\n")
}

#[derive(serde::Deserialize)]
struct Note {
    text: String,
}

async fn add_note(
    State(notes): State<Notes>,
    token: VerifiedToken,
    Json(note): Json<Note>,
) -> String {
    notes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(note.text);
    format!("noted for {}", token.subject().unwrap_or("unknown"))
}

/// The tool descriptions for the model.
fn tool_list() -> Value {
    let text = json!({ "text": { "type": "string", "maxLength": 200 } });
    json!([
        { "name": "read_notes", "description": "Returns all notes, one per line",
          "inputSchema": { "type": "object", "additionalProperties": false } },
        { "name": "add_note", "description": "Adds a note",
          "inputSchema": { "type": "object", "properties": text, "required": ["text"] } },
    ])
}
