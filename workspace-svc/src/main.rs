//! The program of workspace-svc.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    chassis::cli::run(workspace_svc::SERVICE, workspace_svc::serve).await
}
