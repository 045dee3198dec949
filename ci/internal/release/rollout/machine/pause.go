package machine

// PauseStage is a lifecycle stage of a deployment at which all services of a release wait
// for each other, and at which a person may be asked.
type PauseStage string

// The stages, in ECS's order.
const (
	// PostTestTrafficShift: all new tasks run and receive test traffic.
	PostTestTrafficShift PauseStage = "POST_TEST_TRAFFIC_SHIFT"
	// PreProductionTrafficShift: before each step of production traffic.
	PreProductionTrafficShift PauseStage = "PRE_PRODUCTION_TRAFFIC_SHIFT"
	// PostProductionTrafficShift: all production traffic is shifted; the bake is next.
	PostProductionTrafficShift PauseStage = "POST_PRODUCTION_TRAFFIC_SHIFT"
)

// PauseStages returns the stages in ECS's order.
func PauseStages() []PauseStage {
	return []PauseStage{PostTestTrafficShift, PreProductionTrafficShift, PostProductionTrafficShift}
}

// Further lifecycle stages.
const (
	productionTrafficShift = "PRODUCTION_TRAFFIC_SHIFT"
	bakeTime               = "BAKE_TIME"
	cleanUp                = "CLEAN_UP"
)
