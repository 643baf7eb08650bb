package plan

import "math"

// Measure is a unit of measure: a value in it times Factor plus Offset is the value
// in the base unit of its quantity.
type Measure struct{ Factor, Offset float64 }

// Units returns the units that a convert_ function knows, nil for any other.
func Units(function string) map[string]Measure { return units[function] }

func scale(factors map[string]float64) map[string]Measure {
	m := make(map[string]Measure, len(factors))
	for name, f := range factors {
		m[name] = Measure{Factor: f}
	}
	return m
}

const (
	foot     = 0.3048
	inch     = 0.0254
	mile     = 1609.344
	survey   = 1200.0 / 3937
	pound    = 0.45359237
	gravity  = 9.80665
	calorie  = 4.184
	btu      = 1055.05585262
	electron = 1.602176565e-19
	usGallon = 0.003785411784
	ukGallon = 0.00454609
)

// units are the quantities of the convert_ functions, by the international
// definitions of their units.
var units = map[string]map[string]Measure{
	"convert_angle": scale(map[string]float64{
		"Degree": 1, "Arcminute": 1.0 / 60, "Arcsecond": 1.0 / 3600, "Radian": 180 / math.Pi, "Centiradian": 1.8 / math.Pi,
		"Deciradian": 18 / math.Pi, "Milliradian": .18 / math.Pi, "Microradian": 180e-6 / math.Pi, "Nanoradian": 180e-9 / math.Pi,
		"Gradian": 0.9, "Microdegree": 1e-6, "Millidegree": 1e-3, "Nanodegree": 1e-9, "NatoMil": 360.0 / 6400, "Revolution": 360,
		"Tilt": 180 / math.Pi,
	}),
	"convert_energy": scale(map[string]float64{
		"Joule": 1, "Kilojoule": 1e3, "Megajoule": 1e6, "Gigajoule": 1e9, "Millijoule": 1e-3,
		"BritishThermalUnit": btu, "KilobritishThermalUnit": btu * 1e3, "MegabritishThermalUnit": btu * 1e6, "GigabritishThermalUnit": btu * 1e9,
		"Calorie": calorie, "Kilocalorie": calorie * 1e3, "Megacalorie": calorie * 1e6,
		"ThermEc": 105505585.262, "ThermImperial": 1.05505585257348e+14 / 1e6, "ThermUs": 1.054804e+08,
		"DecathermEc": 1055055852.62, "DecathermImperial": 1.05505585257348e+14 / 1e5, "DecathermUs": 1.054804e+09,
		"ElectronVolt": electron, "KiloelectronVolt": electron * 1e3, "MegaelectronVolt": electron * 1e6, "GigaelectronVolt": electron * 1e9, "TeraelectronVolt": electron * 1e12,
		"Erg": 1e-7, "FootPound": 1.355817948, "HorsepowerHour": 2.6845195377e6,
		"WattHour": 3600, "KilowattHour": 3600e3, "MegawattHour": 3600e6, "GigawattHour": 3600e9, "TerawattHour": 3600e12,
		"WattDay": 86400, "KilowattDay": 86400e3, "MegawattDay": 86400e6, "GigawattDay": 86400e9, "TerawattDay": 86400e12,
	}),
	"convert_force": scale(map[string]float64{
		"Newton": 1, "Decanewton": 10, "Kilonewton": 1e3, "Meganewton": 1e6, "Micronewton": 1e-6, "Millinewton": 1e-3, "Dyn": 1e-5,
		"KilogramForce": gravity, "KiloPond": gravity, "TonneForce": gravity * 1e3, "PoundForce": pound * gravity, "KilopoundForce": pound * gravity * 1e3,
		"OunceForce": pound * gravity / 16, "Poundal": pound * foot, "ShortTonForce": pound * gravity * 2000,
	}),
	"convert_length": scale(map[string]float64{
		"Meter": 1, "Decameter": 10, "Hectometer": 100, "Kilometer": 1e3, "Decimeter": .1, "Centimeter": .01, "Millimeter": 1e-3, "Micrometer": 1e-6, "Nanometer": 1e-9, "Angstrom": 1e-10,
		"AstronomicalUnit": 1.4959787070e11, "LightYear": 9.46073047258e15, "KilolightYear": 9.46073047258e18, "MegalightYear": 9.46073047258e21,
		"Parsec": 3.08567758128e16, "Kiloparsec": 3.08567758128e19, "Megaparsec": 3.08567758128e22, "SolarRadius": 6.95510000e8,
		"Foot": foot, "Inch": inch, "Yard": 3 * foot, "Mile": mile, "Microinch": inch * 1e-6, "Mil": inch * 1e-3, "Chain": 66 * foot, "DataMile": 1828.8, "Fathom": 6 * foot, "Hand": 4 * inch,
		"NauticalMile": 1852, "Shackle": 27.432, "UsSurveyFoot": survey, "DtpPica": inch / 6, "DtpPoint": inch / 72, "PrinterPica": inch / 6.0225, "PrinterPoint": inch / 72.27, "Twip": inch / 1440,
	}),
	"convert_mass": scale(map[string]float64{
		"Kilogram": 1, "Gram": 1e-3, "Hectogram": .1, "Decagram": .01, "Decigram": 1e-4, "Centigram": 1e-5, "Milligram": 1e-6, "Microgram": 1e-9, "Nanogram": 1e-12, "Tonne": 1e3, "Kilotonne": 1e6, "Megatonne": 1e9,
		"Pound": pound, "Kilopound": pound * 1e3, "Megapound": pound * 1e6, "Ounce": pound / 16, "Grain": pound / 7000, "Stone": pound * 14,
		"LongHundredweight": pound * 112, "ShortHundredweight": pound * 100, "LongTon": pound * 2240, "ShortTon": pound * 2000, "Slug": pound * gravity / foot,
		"EarthMass": 5.9722e24, "SolarMass": 1.98947e30,
	}),
	"convert_speed": speeds(),
	"convert_temperature": {
		"Kelvin": {1, 0}, "DegreeCelsius": {1, 273.15}, "MillidegreeCelsius": {1e-3, 273.15}, "DegreeDelisle": {-2.0 / 3, 373.15},
		"DegreeFahrenheit": {5.0 / 9, 459.67 * 5 / 9}, "DegreeNewton": {100.0 / 33, 273.15}, "DegreeRankine": {5.0 / 9, 0},
		"DegreeReaumur": {5.0 / 4, 273.15}, "DegreeRoemer": {40.0 / 21, 273.15 - 7.5*40/21}, "SolarTemperature": {5778, 0},
	},
	"convert_volume": scale(map[string]float64{
		"CubicMeter": 1, "CubicCentimeter": 1e-6, "CubicDecimeter": 1e-3, "CubicHectometer": 1e6, "CubicKilometer": 1e9, "CubicMicrometer": 1e-18, "CubicMillimeter": 1e-9,
		"HectocubicMeter": 100, "KilocubicMeter": 1e3, "Liter": 1e-3, "Decaliter": .01, "Hectoliter": .1, "Kiloliter": 1, "Megaliter": 1e3, "Deciliter": 1e-4, "Centiliter": 1e-5, "Milliliter": 1e-6, "Microliter": 1e-9,
		"CubicFoot": foot * foot * foot, "HectocubicFoot": foot * foot * foot * 100, "KilocubicFoot": foot * foot * foot * 1e3, "MegacubicFoot": foot * foot * foot * 1e6,
		"CubicInch": inch * inch * inch, "CubicYard": 27 * foot * foot * foot, "CubicMile": mile * mile * mile, "AcreFoot": 1 / 0.000810714, "BoardFoot": foot * foot * inch,
		"UsGallon": usGallon, "DecausGallon": usGallon * 10, "DeciusGallon": usGallon / 10, "HectousGallon": usGallon * 100, "KilousGallon": usGallon * 1e3, "MegausGallon": usGallon * 1e6,
		"UsQuart": usGallon / 4, "UsPint": usGallon / 8, "UsOunce": usGallon / 128, "UsTablespoon": usGallon / 256, "UsTeaspoon": usGallon / 768, "UsCustomaryCup": usGallon / 16, "UsLegalCup": 240e-6, "UsBeerBarrel": usGallon * 31, "OilBarrel": usGallon * 42,
		"ImperialGallon": ukGallon, "KiloimperialGallon": ukGallon * 1e3, "MegaimperialGallon": ukGallon * 1e6, "ImperialOunce": ukGallon / 160, "ImperialPint": ukGallon / 8, "ImperialBeerBarrel": ukGallon * 36,
		"AuTablespoon": 20e-6, "UkTablespoon": 15e-6, "MetricCup": 250e-6, "MetricTeaspoon": 5e-6,
	}),
}

// speeds are the lengths per time that UnitsNet names.
func speeds() map[string]Measure {
	m := map[string]Measure{"Knot": {Factor: 1852.0 / 3600}}
	per := map[string]float64{"PerHour": 3600, "PerMinute": 60, "PerSecond": 1}
	lengths := map[string]float64{
		"Centimeter": .01, "Decimeter": .1, "Foot": foot, "Inch": inch, "Kilometer": 1e3, "Meter": 1, "Micrometer": 1e-6, "Mile": mile,
		"Millimeter": 1e-3, "Nanometer": 1e-9, "UsSurveyFoot": survey, "Yard": 3 * foot,
	}
	for l, f := range lengths {
		for t, d := range per {
			m[l+t] = Measure{Factor: f / d}
		}
	}
	return m
}
