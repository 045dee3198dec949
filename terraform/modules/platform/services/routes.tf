# Listener rules and their priorities. ci/internal/config/platform/route.go computes the
# same. If two rules match a path, the one with the lower priority wins: routes without a
# wildcard, then deeper ones. Within a class the order is arbitrary, spread over 5500
# priorities. A priority depends on the rule's own routes alone, so that a new service
# changes no existing rule; AWS would reject such a change half-way with PriorityInUse.
locals {
  # Services whose traffic ECS shifts from the old tasks to the new ones.
  shifts = { for name, s in var.services : name => s.port != 0 && contains(["blue_green", "canary", "linear"], try(s.strategy.type, "")) }

  # Routes by class. The catch-all comes last.
  route_class = { for route in distinct(flatten([for s in var.services : s.routes])) :
    route => route == "/*" ? 8 : strcontains(route, "*") || strcontains(route, "?") ? max(1, 9 - length(split("/", route))) : 0
  }

  # The listener rules of each service. ECS shifts the traffic of one rule, so all routes of
  # such a service are in one, which comes where the least specific of them would. Its
  # priority differs from that of a single route, so that it can be created before the
  # rules that it replaces are deleted. Otherwise each route has its own rule, because a
  # rule has at most five patterns; the catch-all is the listener's default action.
  rules = { for name, s in var.services : name => local.shifts[name] ? [{
    routes = sort(s.routes)
    class  = max([for route in s.routes : local.route_class[route]]...)
    text   = "rule ${join(" ", sort(s.routes))}"
    }] : [for route in s.routes : { routes = [route], class = local.route_class[route], text = route } if route != "/*"]
  }
  route_priority = merge(flatten([for rules in local.rules : [for rule in rules : {
    for route in rule.routes : route => rule.class * 5500 + parseint(substr(sha256(rule.text), 0, 8), 16) % 5500 + 1
  }]])...)

  # Routes with the class of their rule, and as a regular expression.
  routes = flatten([for name, s in var.services : [for route in s.routes : {
    name  = name
    route = route
    class = local.route_class[route]
    rule  = local.shifts[name] ? local.rules[name][0].class : local.route_class[route]
    regex = "^${replace(replace(replace(route, "/[.+()|^$\\[\\]{}\\\\]/", "\\$0"), "*", ".*"), "?", ".")}$"
    begin = regex("^[^*?]*", route)
    end   = regex("[^*?]*$", route)
  }]])

  # A route that is in one rule with a less specific one must still come before the less
  # specific routes of other services. Whether two patterns with wildcards match a common
  # path is estimated by what is before the first and after the last wildcard.
  order_problems = flatten([for a in local.routes : [for b in local.routes :
    "service \"${a.name}\": strategy \"${var.services[a.name].strategy.type}\" puts all its routes in one listener rule, so that \"${a.route}\" would not come before \"${b.route}\" of service \"${b.name}\": use other routes, or type \"rolling\""
    if a.name != b.name && a.class < b.class && a.rule >= b.rule && (a.class == 0 ? can(regex(b.regex, a.route)) :
      (startswith(a.begin, b.begin) || startswith(b.begin, a.begin)) && (endswith(a.end, b.end) || endswith(b.end, a.end))
    )
  ] if local.shifts[a.name]])
}
