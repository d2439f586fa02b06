#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The functions that the standard library lacks.
enum Math {
    static func log(_ x: Double) -> Double { _log(x) }
    static func cos(_ x: Double) -> Double { _cos(x) }
    static func sin(_ x: Double) -> Double { _sin(x) }
    static func asin(_ x: Double) -> Double { _asin(x) }
}

private func _log(_ x: Double) -> Double { log(x) }
private func _cos(_ x: Double) -> Double { cos(x) }
private func _sin(_ x: Double) -> Double { sin(x) }
private func _asin(_ x: Double) -> Double { asin(x) }
