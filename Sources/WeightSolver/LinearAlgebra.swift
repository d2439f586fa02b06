/// Sums and one small dense factorisation, over rows whose length is padded to whole vectors of four.
enum LinearAlgebra {
    /// The least multiple of four that holds `count` numbers.
    static func padded(_ count: Int) -> Int { (count + 3) & ~3 }

    /// Σ a·b; reads whole vectors of four, so that both must be padded.
    @inline(__always)
    static func dot(_ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ count: Int) -> Double {
        let left = UnsafeRawPointer(a)
        let right = UnsafeRawPointer(b)
        var even = SIMD4<Double>.zero
        var odd = SIMD4<Double>.zero
        let stride = MemoryLayout<SIMD4<Double>>.stride
        var offset = 0
        let end = (count + 3) / 4 * stride
        while offset + stride < end {
            even +=
                left.loadUnaligned(fromByteOffset: offset, as: SIMD4<Double>.self)
                * right.loadUnaligned(fromByteOffset: offset, as: SIMD4<Double>.self)
            odd +=
                left.loadUnaligned(fromByteOffset: offset + stride, as: SIMD4<Double>.self)
                * right.loadUnaligned(fromByteOffset: offset + stride, as: SIMD4<Double>.self)
            offset += 2 * stride
        }
        if offset < end {
            even +=
                left.loadUnaligned(fromByteOffset: offset, as: SIMD4<Double>.self)
                * right.loadUnaligned(fromByteOffset: offset, as: SIMD4<Double>.self)
        }
        return (even + odd).sum()
    }

    /// The lower half of `1 − Σ_g u_g·q_g·u_gᵀ` for the rows u, each `width` long.
    static func identityMinusGram(
        _ matrix: UnsafeMutablePointer<Double>,
        stride: Int,
        rows: UnsafePointer<Double>,
        scale q: UnsafePointer<Double>,
        scaled: UnsafeMutablePointer<Double>,
        count: Int,
        width: Int
    ) {
        for i in 0..<count {
            let row = rows + i * width
            for g in 0..<width { scaled[g] = row[g] * q[g] }
            for j in 0...i { matrix[i * stride + j] = -Self.dot(scaled, rows + j * width, width) }
            matrix[i * stride + i] += 1
        }
    }

    /// Solves `A·x = b` in place of b, for a positive definite A given by its lower half, which becomes its Cholesky
    /// factor.
    ///
    /// A pivot that rounding has taken to zero is lifted, which shortens the step along that direction.
    static func solve(
        _ matrix: UnsafeMutablePointer<Double>,
        stride: Int,
        _ vector: UnsafeMutablePointer<Double>,
        count: Int
    ) {
        for i in 0..<count {
            let row = matrix + i * stride
            for j in 0..<i {
                let other = matrix + j * stride
                row[j] = (row[j] - Self.plainDot(row, other, j)) / other[j]
            }
            row[i] = max(row[i] - Self.plainDot(row, row, i), 1e-13).squareRoot()
            vector[i] = (vector[i] - Self.plainDot(row, vector, i)) / row[i]
        }
        for i in Swift.stride(from: count - 1, through: 0, by: -1) {
            vector[i] /= matrix[i * stride + i]
            let value = vector[i]
            let row = matrix + i * stride
            for j in 0..<i { vector[j] -= row[j] * value }
        }
    }

    /// Σ a·b over exactly `count` numbers.
    @inline(__always)
    private static func plainDot(_ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ count: Int) -> Double {
        let whole = count & ~3
        var sum = Self.dot(a, b, whole)
        for i in whole..<count { sum += a[i] * b[i] }
        return sum
    }
}
