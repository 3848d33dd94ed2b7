//! The program of billing-svc.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    chassis::cli::run(billing_svc::SERVICE, billing_svc::serve).await
}
