//! The program of settlement-svc.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    chassis::cli::run(settlement_svc::SERVICE, settlement_svc::serve).await
}
