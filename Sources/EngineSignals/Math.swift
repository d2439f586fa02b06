#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The functions of the C library that this room computes with.
enum Math {
    static func log2(_ x: Double) -> Double { _log2(x) }
    static func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }
    static func exp(_ x: Double) -> Double { _exp(x) }
}

private func _log2(_ x: Double) -> Double { log2(x) }
private func _exp(_ x: Double) -> Double { exp(x) }
