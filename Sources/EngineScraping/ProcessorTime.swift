package import FleetModel

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The processor's time, which tells what work costs however busy the machine is.
package enum ProcessorTime {
    /// What the current thread has used so far, in seconds.
    ///
    /// A difference of two means something when both were taken without waiting in between.
    package static var ofThread: Seconds {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
