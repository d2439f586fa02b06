import Glibc

/// The programs' clock: seconds since it was made, never backwards, counting through suspends.
///
/// It is read several times for each request, so it asks the kernel's page and goes through no 128-bit duration.
package struct MonotonicClock: Sendable {
    private let start = Self.time

    package init() {}

    package var now: Double {
        let now = Self.time
        return Double(now.tv_sec - self.start.tv_sec) + Double(now.tv_nsec - self.start.tv_nsec) * 1e-9
    }

    private static var time: timespec {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return time
    }
}
