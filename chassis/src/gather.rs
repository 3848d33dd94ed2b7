//! Gathers what the tasks of a connection have to write into one call of the operating system. HTTP/2 writes as soon as one task has something to say;
//! where hundreds of small calls share a connection, each would be a packet of its own, and half of what a call costs. A little therefore waits until the
//! other tasks had their turn, which they use to add theirs; where there are none it goes at once.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// So many bytes are worth a call of their own, and wait for nobody.
const AT_ONCE: usize = 8 * 1_024;

/// A connection whose small writes wait for a turn of the runtime, once.
#[derive(Debug)]
pub struct Gathered<T> {
    io: T,
    /// What is to be written has let the others have their turn.
    waited: bool,
}

impl<T> Gathered<T> {
    /// Wraps a connection.
    pub fn new(io: T) -> Self {
        Self { io, waited: false }
    }

    /// Writes, or comes back after the tasks that are ready now.
    fn in_turn(
        &mut self,
        context: &mut Context<'_>,
        length: usize,
        write: impl FnOnce(&mut T, &mut Context<'_>) -> Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        if length < AT_ONCE && !self.waited {
            self.waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = write(&mut self.io, context);
        if written.is_ready() {
            self.waited = false;
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.in_turn(context, bytes.len(), |io, context| Pin::new(io).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.in_turn(context, length, |io, context| Pin::new(io).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl<T: Connected> Connected for Gathered<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    /// Keeps what each call wrote, and takes at most so many bytes of it.
    struct Calls(Vec<Vec<u8>>, usize);

    impl AsyncWrite for Calls {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
            let taken: Vec<u8> = bytes.iter().take(self.1).copied().collect();
            let length = taken.len();
            self.0.push(taken);
            Poll::Ready(Ok(length))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<Result<usize>> {
            let whole: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.poll_write(context, &whole)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(io: &mut Gathered<Calls>, woken: &Arc<Woken>, bytes: &[u8]) -> Option<usize> {
        let waker = Waker::from(Arc::clone(woken));
        match Pin::new(io).poll_write(&mut Context::from_waker(&waker), bytes) {
            Poll::Ready(written) => written.ok(),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_little_waits_for_one_turn_and_asks_for_the_next() {
        let woken = Arc::new(Woken::default());
        let mut io = Gathered::new(Calls(Vec::new(), usize::MAX));
        for turn in 1..=3 {
            assert_eq!(write(&mut io, &woken, b"one"), None);
            assert_eq!(woken.0.load(Ordering::Relaxed), turn, "nobody else would wake it");
            // What came meanwhile goes with it.
            assert_eq!(write(&mut io, &woken, b"one and two"), Some(11));
        }
        assert_eq!(io.io.0, vec![b"one and two".to_vec(); 3]);
        assert_eq!(woken.0.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn much_goes_at_once() {
        let woken = Arc::new(Woken::default());
        let mut io = Gathered::new(Calls(Vec::new(), usize::MAX));
        assert_eq!(write(&mut io, &woken, &[7; AT_ONCE]), Some(AT_ONCE));
        assert_eq!(write(&mut io, &woken, &[7; AT_ONCE - 1]), None);
        let waker = Waker::from(Arc::clone(&woken));
        let halves = [IoSlice::new(&[7; AT_ONCE / 2]), IoSlice::new(&[7; AT_ONCE / 2])];
        io.waited = false;
        let written = Pin::new(&mut io).poll_write_vectored(&mut Context::from_waker(&waker), &halves);
        assert!(matches!(written, Poll::Ready(Ok(AT_ONCE))), "{written:?}");
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    /// However it is cut, and however little is taken at a time, everything arrives once and in order.
    #[tokio::test]
    async fn bytes_arrive_whole_and_in_order() {
        let sent: Vec<u8> = (0_u32..100_000).flat_map(u32::to_le_bytes).collect();
        let mut io = Gathered::new(Calls(Vec::new(), 3_000));
        let mut rest = sent.as_slice();
        for length in [1, 100, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 50_000].iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let part = rest.get(..*length).unwrap_or(rest);
            let (first, second) = part.split_at(part.len() / 2);
            let slices = [IoSlice::new(first), IoSlice::new(second)];
            let written =
                std::future::poll_fn(|context| Pin::new(&mut io).poll_write_vectored(context, &slices));
            let written = written.await.expect("a vector takes everything");
            rest = rest.get(written..).unwrap_or_default();
        }
        assert!(io.io.0.len() > sent.len() / 3_000, "{} calls", io.io.0.len());
        assert_eq!(io.io.0.concat(), sent);
    }
}
