//! The program of workspace-svc.

use std::process::ExitCode;

/// Strings of records come and go by the million.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    chassis::cli::run(workspace_svc::SERVICE, workspace_svc::serve).await
}
