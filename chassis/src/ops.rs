//! What operators do to any service: the clock.

use sqlx::PgPool;
use tallystick_proto::common::v1::ErrorReason;
use tallystick_proto::ops::v1::clock_service_server::ClockService;
use tallystick_proto::ops::v1::{
    ClockServiceAdvanceRequest, ClockServiceAdvanceResponse, ClockServiceGetRequest, ClockServiceGetResponse,
};
use time::Duration;
use tonic::{Code, Request, Response, Status};

use crate::clock::Clock;
use crate::db::Schema;
use crate::failure::Failure;
use crate::status::Refusal;
use crate::wire::{Violations, timestamp};

/// The farthest jump.
const ADVANCE_DAYS_MAX: i64 = 4_000;

/// `tallystick.ops.v1.ClockService`.
pub struct ClockRoom {
    /// The pool of the service.
    pub pool: PgPool,
    /// Its schema.
    pub schema: Schema,
    /// Its clock.
    pub clock: Clock,
}

#[tonic::async_trait]
impl ClockService for ClockRoom {
    async fn get(
        &self,
        _: Request<ClockServiceGetRequest>,
    ) -> Result<Response<ClockServiceGetResponse>, Status> {
        let deployment =
            crate::db::deployment(&self.pool, self.schema).await.map_err(Failure::<Refusal>::from)?;
        let now_time = Some(timestamp(self.clock.now()));
        Ok(Response::new(ClockServiceGetResponse { now_time, movable: deployment.is_test }))
    }

    async fn advance(
        &self,
        request: Request<ClockServiceAdvanceRequest>,
    ) -> Result<Response<ClockServiceAdvanceResponse>, Status> {
        let mut violations = Violations::new();
        let moment = violations.time("now_time", request.get_ref().now_time.as_ref());
        let now = self.clock.now();
        if moment.is_some_and(|moment| moment - now > Duration::days(ADVANCE_DAYS_MAX)) {
            violations.add("now_time", format!("must be at most {ADVANCE_DAYS_MAX} days ahead"));
        }
        let moment = violations.into_result(moment)?;
        let deployment =
            crate::db::deployment(&self.pool, self.schema).await.map_err(Failure::<Refusal>::from)?;
        if !deployment.is_test {
            let message = "the clock moves only on a database that was created with the test flag";
            return Err(Refusal::new(Code::FailedPrecondition, ErrorReason::NotATestDatabase, message).into());
        }
        // Forward of what this schema keeps: another service of the process may have moved the clock that they share, and here it is kept all the same.
        let moved = match self.clock.offset_for(moment) {
            Some(offset) => crate::db::advance_clock(&self.pool, self.schema, offset)
                .await
                .map_err(Failure::<Refusal>::from)?
                .then_some(offset),
            None => None,
        };
        let Some(offset) = moved else {
            let message = format!("the clock moves forward only; it is {now}");
            return Err(Refusal::new(Code::FailedPrecondition, ErrorReason::ClockBackward, message)
                .with("now", now)
                .into());
        };
        self.clock.adopt(offset);
        Ok(Response::new(ClockServiceAdvanceResponse { now_time: Some(timestamp(self.clock.now())) }))
    }
}
