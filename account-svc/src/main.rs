//! The program of account-svc.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    chassis::cli::run(account_svc::SERVICE, account_svc::serve).await
}
