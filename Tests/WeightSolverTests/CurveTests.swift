import Testing

@testable import WeightSolver

struct CurveTests {
    @Test(arguments: [1.0, 3, 7, 40], [0.001, 0.2, 3])
    func `a load is found again from its price, from wherever one looks`(servers: Double, queueScale: Double) {
        let curve = DelayCurve(capacity: 36, servers: servers, unloaded: 0.2, queueScale: queueScale)
        for load in stride(from: 1.0, through: 60, by: 0.7) {
            let price = curve.at(load).marginal
            for start in [0, 0.1, 10, 25, 34, 36, 100] {
                let found = curve.load(atMarginal: price, from: start)
                #expect(abs(curve.at(found).marginal - price) <= 1e-6 * price)
            }
        }
        #expect(curve.load(atMarginal: 0.1, from: 10) == 0)
    }

    @Test(arguments: [1.0, 7, 40])
    func `a wall keeps the load below its cap at any price up to its height`(servers: Double) {
        let curve = DelayCurve(capacity: 36, servers: servers, unloaded: 0.2, queueScale: 0.3)
        let wall = DualNewton.Wall(cap: 25, height: 2)
        for price in stride(from: 0.25, through: 12, by: 0.05) {
            for start in [0, 10, 24.99, 26, 34, 100] {
                let load = wall.load(atMarginal: price, of: curve, from: start)
                #expect(load <= 25 || price > 2)
                #expect(abs(wall.on(curve.at(load), load: load).marginal - price) <= 1e-4 * price)
            }
        }
    }

    @Test func `the slope and the bend are the derivatives of the cost`() {
        let curve = DelayCurve(capacity: 40, servers: 8, unloaded: 0.1, queueScale: 0.2, decodeScale: 0.05)
        func cost(_ load: Double) -> Double { load * curve.at(load).delay }
        for load in [5.0, 20, 35, 38, 45] {
            let h = 1e-4
            #expect(
                abs((cost(load + h) - cost(load - h)) / (2 * h) - curve.at(load).marginal) < 1e-5
                    * curve.at(load).marginal
            )
            let bend = (curve.at(load + h).marginal - curve.at(load - h).marginal) / (2 * h)
            #expect(abs(bend - curve.at(load).curvature) < 1e-4 * curve.at(load).curvature)
        }
    }
}
