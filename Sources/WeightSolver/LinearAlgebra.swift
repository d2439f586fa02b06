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

    /// Row `row` of a matrix times a vector; both padded.
    static func rowDot(
        _ rows: UnsafePointer<Double>,
        row: Int,
        _ vector: UnsafePointer<Double>,
        width: Int
    ) -> Double {
        Self.dot(rows + row * width, vector, width)
    }

    /// Adds every row times its factor to a vector.
    static func addRows(
        _ vector: UnsafeMutablePointer<Double>,
        rows: UnsafePointer<Double>,
        factors: UnsafePointer<Double>,
        count: Int,
        width: Int
    ) {
        for n in 0..<count {
            let row = rows + n * width
            let factor = factors[n]
            for i in 0..<width { vector[i] += row[i] * factor }
        }
    }

    /// Adds a part of an array, times a factor, to a vector.
    static func add(
        _ vector: UnsafeMutablePointer<Double>,
        _ values: UnsafePointer<Double>,
        from start: Int,
        times factor: Double,
        count: Int
    ) {
        let values = values + start
        for i in 0..<count { vector[i] += factor * values[i] }
    }

    static func scale(_ values: UnsafeMutablePointer<Double>, from start: Int, by factor: Double, count: Int) {
        let values = values + start
        for i in 0..<count { values[i] *= factor }
    }

    /// The least a + b; infinite when there is none.
    static func leastSum(
        _ a: UnsafePointer<Double>,
        from start: Int,
        _ b: UnsafePointer<Double>,
        count: Int
    ) -> Double {
        let a = a + start
        var least = Double.infinity
        for i in 0..<count { least = min(least, a[i] + b[i]) }
        return least
    }

    /// Writes `e^((least − a − b)/ε)`, and returns the sum.
    ///
    /// Below e⁻⁴⁰ it is zero: nobody would notice, and most pairs of a large fleet are there.
    static func softMinimum(
        _ result: UnsafeMutablePointer<Double>,
        from resultStart: Int,
        _ a: UnsafePointer<Double>,
        from start: Int,
        _ b: UnsafePointer<Double>,
        count: Int,
        least: Double,
        epsilon: Double
    ) -> Double {
        let result = result + resultStart
        let a = a + start
        let rate = 1 / epsilon
        var sum = 0.0
        for i in 0..<count {
            let power = (least - a[i] - b[i]) * rate
            let part = power > -40 ? Math.exp(power) : 0
            result[i] = part
            sum += part
        }
        return sum
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
